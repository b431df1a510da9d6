import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Button } from './button.tsx';
import { Field } from './form.tsx';

type AreaProps = {
  readonly label: string;
  readonly name?: string;
  readonly hint?: ComponentChildren;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly disabled?: boolean;
  /** Lines that are seen without scrolling. */
  readonly rows?: number;
};

/** A box for a text of several lines, such as a list of ids. */
export function AreaField({ value, onChange, disabled = false, rows = 6, ...props }: AreaProps) {
  return (
    <Field {...props}>
      {(control) => (
        <textarea
          {...control}
          class="input mono"
          {...{ value, disabled, rows }}
          autoComplete="off"
          spellcheck={false}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

type FileProps = {
  readonly label: string;
  readonly name?: string;
  readonly hint?: ComponentChildren;
  readonly file: File | null;
  readonly onChange: (file: File | null) => void;
  /** What the button says that takes the file back. */
  readonly remove: string;
};

/** A choice of a file, which can be taken back. */
export function FileField({ file, onChange, remove, ...props }: FileProps) {
  const element = useRef<HTMLInputElement>(null);
  // A new element has no file yet, such as after a step back.
  useLayoutEffect(() => {
    if (!element.current || (element.current.files?.[0] ?? null) === file) return;
    const chosen = new DataTransfer();
    if (file !== null) chosen.items.add(file);
    element.current.files = chosen.files;
  }, [file]);
  const clear = () => {
    element.current?.focus();
    onChange(null);
  };
  return (
    <Field {...props}>
      {(control) => (
        <div class="file">
          <input
            ref={element}
            {...control}
            type="file"
            onChange={({ currentTarget }) => onChange(currentTarget.files?.[0] ?? null)}
          />
          {file !== null && <Button onClick={clear}>{remove}</Button>}
        </div>
      )}
    </Field>
  );
}
