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

/** A dialog over the page. The browser keeps the focus in it. Escape closes it; when something was entered, it asks before. */
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
  const entered = useRef<EventTarget | null>(null);
  const [isAsking, setAsking] = useState(false);
  const leave = () => {
    // A form that was sent may have left the dialog, which then shows a result.
    if (!(entered.current instanceof Node && entered.current.isConnected)) return onClose();
    // Escape answers the question with no.
    setAsking(!isAsking);
  };
  return (
    <dialog
      ref={element}
      class={isWide ? 'wide' : ''}
      aria-labelledby={id}
      onInput={({ target }) => {
        entered.current = target;
      }}
      // Not left to the event `cancel`: browsers close a dialog that does not close at once.
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || event.defaultPrevented) return;
        event.preventDefault();
        leave();
      }}
      onCancel={(event) => {
        event.preventDefault();
        leave();
      }}
      // By the browser. It also comes after the dialog is gone.
      onClose={() => element.current && onClose()}
    >
      <header>
        <h2 id={id}>{title}</h2>
        <Button look="plain" isSmall onClick={leave}>
          {texts.controls.close}
        </Button>
      </header>
      {isAsking && <Discard onDiscard={onClose} onKeep={() => setAsking(false)} />}
      <div class="body">{children}</div>
    </dialog>
  );
}

type DiscardProps = { readonly onDiscard: () => void; readonly onKeep: () => void };

/** Asks whether a dialog is closed although something was entered. It gives the focus back where it was. */
function Discard({ onDiscard, onKeep }: DiscardProps) {
  const element = useRef<HTMLDivElement>(null);
  const words = texts.controls.discard;
  useLayoutEffect(() => {
    const before = document.activeElement;
    element.current?.querySelector('button')?.focus();
    element.current?.scrollIntoView({ block: 'nearest' });
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <div ref={element} class="note-box warn" role="alert">
      <div>{words.question}</div>
      <Button onClick={onKeep}>{words.keep}</Button>
      <Button look="danger" onClick={onDiscard}>
        {words.discard}
      </Button>
    </div>
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
