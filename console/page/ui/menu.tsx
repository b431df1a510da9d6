import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

type MenuProps = {
  /** What the button shows. */
  readonly label: ComponentChildren;
  /** What the button is called for screen readers, if the label does not say it. */
  readonly name?: string;
  readonly class?: string;
  /** Whether the box is a list of items from edge to edge. */
  readonly isList?: boolean;
  readonly children: ComponentChildren;
};

/** A button that opens a box under it. Escape, a click outside and a click on a button inside close it. */
export function Menu({ label, name, class: look = 'button', isList = false, children }: MenuProps) {
  const element = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = () => {
      if (element.current) element.current.open = false;
    };
    const onPointer = ({ target }: Event) => {
      if (!(target instanceof Node && element.current?.contains(target))) close();
    };
    const onKey = ({ key }: KeyboardEvent) => {
      if (key !== 'Escape' || !element.current?.open) return;
      if (element.current.contains(document.activeElement)) element.current.querySelector('summary')?.focus();
      close();
    };
    document.addEventListener('pointerdown', onPointer);
    document.addEventListener('keydown', onKey);
    return () => {
      document.removeEventListener('pointerdown', onPointer);
      document.removeEventListener('keydown', onKey);
    };
  }, []);
  const onClick = ({ target }: Event) => {
    if (target instanceof Element && target.closest('button') && element.current)
      element.current.open = false;
  };
  return (
    <details ref={element} class="menu">
      <summary class={look} aria-label={name}>
        {label}
      </summary>
      {/* The buttons inside have their own keys. */}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: It listens to the buttons inside. */}
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: A button is clicked by keys too. */}
      <div class={isList ? 'list' : ''} onClick={onClick}>
        {children}
      </div>
    </details>
  );
}
