import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Attempts } from '../api.ts';
import { texts } from '../texts.ts';
import { Button } from './button.tsx';
import { Form } from './form.tsx';

type DialogProps = {
  readonly title: string;
  readonly onClose: () => void;
  readonly isWide?: boolean;
  readonly children: ComponentChildren;
};

/** A dialog over the page. The browser keeps the focus in it; Escape closes it. */
export function Dialog({ title, onClose, isWide = false, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Before the next key is pressed, so that the first field gets it.
  useLayoutEffect(() => {
    const dialog = element.current;
    const opener = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={isWide ? 'wide' : ''}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header>
        <h2 id={id}>{title}</h2>
        <Button look="plain" isSmall onClick={onClose}>
          {texts.controls.close}
        </Button>
      </header>
      <div class="body">{children}</div>
    </dialog>
  );
}

type ConfirmProps = {
  readonly title: string;
  /** What will happen, and what will not. */
  readonly children: ComponentChildren;
  /** What the button says: the action. */
  readonly action: string;
  readonly isDangerous?: boolean;
  readonly onConfirm: (attempts: Attempts) => Promise<unknown>;
  /** Reads again what is changed, after somebody else has changed it. */
  readonly readAgain?: () => Promise<void>;
  readonly onClose: () => void;
};

/** Asks before something is done. Closes when it is done; an error is shown in the dialog. */
export function Confirm({ title, children, action, onConfirm, onClose, ...rest }: ConfirmProps) {
  const submit = async (attempts: Attempts) => {
    await onConfirm(attempts);
    onClose();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <Form onSubmit={submit} submit={action} onCancel={onClose} {...rest}>
        <div>{children}</div>
      </Form>
    </Dialog>
  );
}

/** Whether a dialog is open, and how to open and to close it. */
export function useDialog(): {
  readonly isOpen: boolean;
  readonly open: () => void;
  readonly close: () => void;
} {
  const [isOpen, setOpen] = useState(false);
  return { isOpen, open: () => setOpen(true), close: () => setOpen(false) };
}
