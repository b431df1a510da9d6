import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { texts } from '../texts.ts';
import { notify } from './toast.tsx';

type Look = { readonly look?: 'primary' | 'danger' | 'plain'; readonly isSmall?: boolean };

const classOf = ({ look, isSmall }: Look) => `button ${look ?? ''} ${isSmall ? 'small' : ''}`;

type ButtonProps = Look & {
  readonly onClick?: () => void;
  readonly type?: 'button' | 'submit';
  readonly disabled?: boolean;
  /** Whether it does its work. Unlike a disabled button, it keeps the focus. */
  readonly isBusy?: boolean;
  readonly title?: string;
  readonly children: ComponentChildren;
};

/** A button; `look` of `primary` for the one thing that one comes for. */
export function Button({
  onClick,
  type = 'button',
  disabled = false,
  isBusy = false,
  title,
  children,
  ...look
}: ButtonProps) {
  return (
    <button
      type={type}
      class={classOf(look)}
      disabled={disabled}
      aria-disabled={isBusy}
      title={title}
      onClick={onClick}
    >
      {children}
    </button>
  );
}

type LinkButtonProps = Look & {
  readonly href: string;
  /** Saves the answer as a file of this name instead of showing it. */
  readonly download?: string;
  /** Opens another tab, for pages that are not this one. */
  readonly isOutside?: boolean;
  readonly children: ComponentChildren;
};

/** A link that looks like a button. */
export function LinkButton({ href, download, isOutside = false, children, ...look }: LinkButtonProps) {
  return (
    <a
      class={classOf(look)}
      href={href}
      download={download}
      {...(isOutside && { target: '_blank', rel: 'noreferrer' })}
    >
      {children}
    </a>
  );
}

/** How long the button says that it has copied, in ms. */
const COPIED_MS = 1_500;

/** Copies a text to the clipboard. */
export function CopyButton({
  text,
  label = texts.controls.copy,
}: {
  readonly text: string;
  readonly label?: string;
}) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await copyText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), COPIED_MS);
    } catch (error) {
      notify((error as Error).message);
    }
  };
  return (
    <Button isSmall onClick={() => void copy()}>
      {isCopied ? texts.controls.copied : label}
    </Button>
  );
}

/** Browsers have no clipboard on pages without TLS, except on localhost. */
async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  // Inside an open dialog, because the rest of the page cannot be focused then.
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand('copy');
  area.remove();
  if (!isDone) throw new Error(text);
}

/** Saves a text as a file. */
export function saveText(name: string, type: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
