import { type ComponentChildren, createContext } from 'preact';
import { useContext, useEffect, useId, useRef, useState } from 'preact/hooks';
import { ApiError, type Attempts } from '../api.ts';
import { texts } from '../texts.ts';
import { Button } from './button.tsx';
import { ErrorBox } from './state.tsx';

/**
 * What is wrong with single fields: as the API said, by name, and the ids of the inputs that are half filled in. `known` has the names of the fields
 * of the form, which show it themselves.
 */
type FieldProblems = {
  readonly byName: ReadonlyMap<string, string>;
  readonly incomplete: ReadonlySet<string>;
  readonly known: Set<string>;
};

const Problems = createContext<FieldProblems>({ byName: new Map(), incomplete: new Set(), known: new Set() });

const nameOf = (pointer: string): string => pointer.split('/')[1] ?? '';

type FormProps = {
  /** Sends the form. Throws `ApiError`, which the form shows. A POST with `attempts` is carried out once, even if its answer is lost. */
  readonly onSubmit: (attempts: Attempts) => Promise<unknown>;
  /** Reads again what the form changes, after somebody else has changed it. */
  readonly readAgain?: (() => Promise<void>) | undefined;
  /** What the button says: the action. */
  readonly submit: string;
  readonly onCancel?: () => void;
  /** What the button of `onCancel` says. */
  readonly cancel?: string;
  readonly isDangerous?: boolean;
  /** Whether the button stands beside the fields. */
  readonly isRow?: boolean;
  readonly children: ComponentChildren;
};

/** A form: sends once, however often the button is pressed. When that fails, it keeps what was entered and goes to the first wrong field. */
export function Form(props: FormProps) {
  const {
    onSubmit,
    readAgain,
    submit,
    onCancel,
    cancel = texts.controls.cancel,
    isDangerous = false,
    isRow = false,
    children,
  } = props;
  const element = useRef<HTMLFormElement>(null);
  const isBusy = useRef(false);
  const [isWorking, setWorking] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const [incomplete, setIncomplete] = useState<ReadonlySet<string>>(new Set());
  const attempts = useRef<Attempts>(new Map());
  const known = useRef(new Set<string>());
  const run = async (work: () => Promise<unknown>) => {
    if (isBusy.current) return;
    isBusy.current = true;
    setWorking(true);
    setError(null);
    try {
      await work();
    } catch (problem) {
      setError(problem as Error);
    } finally {
      isBusy.current = false;
      setWorking(false);
    }
  };
  useEffect(() => {
    if (error !== null) element.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus();
  }, [error]);
  const send = (event: Event) => {
    event.preventDefault();
    const inputs = incompleteInputs(element.current);
    setIncomplete(new Set(inputs.map(({ id }) => id)));
    inputs[0]?.focus();
    if (inputs.length === 0) void run(() => onSubmit(attempts.current));
  };
  const isStale = error instanceof ApiError && error.code === 'stale_etag';
  const fields = error instanceof ApiError ? error.fields : [];
  const byName = new Map(fields.map(({ pointer, detail }) => [nameOf(pointer), detail]));
  const problems: FieldProblems = { byName, incomplete, known: known.current };
  return (
    <form ref={element} class={isRow ? 'form in-row' : 'form'} noValidate onSubmit={send}>
      <Problems.Provider value={problems}>{children}</Problems.Provider>
      {error && !isStale && <FormError error={error} known={known.current} />}
      {isStale && (
        <ErrorBox
          error={new Error(texts.errors.stale)}
          {...(readAgain && { retry: () => void run(readAgain), retryLabel: texts.errors.readAgain })}
        />
      )}
      <div class="actions">
        {onCancel && <Button onClick={onCancel}>{cancel}</Button>}
        <Button type="submit" look={isDangerous ? 'danger' : 'primary'} isBusy={isWorking}>
          {submit}
        </Button>
      </div>
    </form>
  );
}

/** The inputs that are half filled in, such as a date without its year: their value is empty, as if nothing had been entered. */
function incompleteInputs(form: HTMLFormElement | null): HTMLInputElement[] {
  return [...(form?.querySelectorAll('input') ?? [])].filter(({ validity }) => validity.badInput);
}

/** The error of a form, without what its fields show. */
function FormError({ error, known }: { readonly error: Error; readonly known: ReadonlySet<string> }) {
  if (error instanceof ApiError && error.status === 0)
    return <ErrorBox error={new Error(texts.errors.lost)} />;
  if (!(error instanceof ApiError) || error.fields.length === 0) return <ErrorBox error={error} />;
  const { status, code, message } = error;
  const rest = error.fields.filter(({ pointer }) => !known.has(nameOf(pointer)));
  if (rest.length === 0)
    return (
      <p class="wrong" role="alert">
        {texts.errors.fields(fieldsWrong(error))}
      </p>
    );
  return <ErrorBox error={new ApiError(status, code, message, rest)} />;
}

/** How many fields of a form are wrong. */
const fieldsWrong = ({ fields }: ApiError): number =>
  new Set(fields.map(({ pointer }) => nameOf(pointer))).size;

type FieldProps = {
  readonly label: string;
  /** The name of the value in the body of the request, by which an error of the API finds its field. */
  readonly name?: string;
  readonly hint?: ComponentChildren;
  /** What the entered value will do that may not be meant. It can be sent all the same. */
  readonly warning?: string | undefined;
  readonly isOptional?: boolean;
};

type ControlProps = {
  readonly id: string;
  readonly class: 'input';
  readonly 'aria-describedby': string;
  readonly 'aria-invalid': boolean;
};

type FieldOfControl = FieldProps & {
  /** What the control itself finds wrong. */
  readonly wrong?: string | undefined;
  readonly children: (control: ControlProps) => ComponentChildren;
};

/** A label, a control, its hint, and what is wrong with it, as the API said or the control. */
export function Field(props: FieldOfControl) {
  const { label, name, hint, warning, isOptional = false, children } = props;
  const id = useId();
  const { byName, incomplete, known } = useContext(Problems);
  const wrong = incomplete.has(id) ? texts.errors.incomplete : (byName.get(name ?? '') ?? props.wrong);
  if (name !== undefined) known.add(name);
  const about = `${id}-about`;
  return (
    <div class="field">
      <label for={id}>
        {label}
        {isOptional && <span class="soft"> ({texts.controls.optional})</span>}
      </label>
      {children({ id, class: 'input', 'aria-describedby': about, 'aria-invalid': wrong !== undefined })}
      <div id={about} aria-live="polite">
        {wrong !== undefined && <span class="wrong">{wrong}</span>}
        {wrong === undefined && warning !== undefined && <span class="warning">{warning}</span>}
        {wrong === undefined && warning === undefined && hint !== undefined && (
          <span class="hint">{hint}</span>
        )}
      </div>
    </div>
  );
}

type TextProps = FieldProps & {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly type?:
    | 'text'
    | 'password'
    | 'search'
    | 'date'
    | 'month'
    | 'datetime-local'
    | 'time'
    | 'number'
    | 'url';
  readonly placeholder?: string;
  readonly autoFocus?: boolean;
  readonly disabled?: boolean;
  /** Text after the input, such as a currency. */
  readonly unit?: string;
  readonly inputMode?: 'decimal' | 'numeric' | 'text';
};

/** An input for a line of text, a number or a date. */
export function TextField({ value, onChange, type = 'text', unit, autoFocus = false, ...props }: TextProps) {
  const { placeholder, disabled = false, inputMode } = props;
  return (
    <Field {...props}>
      {(control) => {
        const input = (
          <input
            {...control}
            // Preact's types distinguish inputs by their type, which is not known here.
            type={type as 'text'}
            {...{ value, placeholder, disabled, inputMode }}
            // biome-ignore lint/a11y/noAutofocus: The first field of a dialog.
            autoFocus={autoFocus}
            autoComplete="off"
            spellcheck={false}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
        );
        if (unit === undefined) return input;
        return (
          <div class="input-group">
            {input}
            <span class="unit">{unit}</span>
          </div>
        );
      }}
    </Field>
  );
}

type SelectProps<T extends string> = FieldProps & {
  readonly value: T;
  readonly options: readonly { readonly value: T; readonly label: string }[];
  readonly onChange: (value: T) => void;
  readonly disabled?: boolean;
};

/** A choice of several. */
export function SelectField<T extends string>({
  value,
  options,
  onChange,
  disabled = false,
  ...props
}: SelectProps<T>) {
  return (
    <Field {...props}>
      {(control) => (
        <select
          {...control}
          value={value}
          disabled={disabled}
          // The options are all that it can have.
          onChange={(event) => onChange(event.currentTarget.value as T)}
        >
          {options.map((option) => (
            <option key={option.value} value={option.value}>
              {option.label}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

type CheckProps = {
  readonly label: ComponentChildren;
  readonly isChecked: boolean;
  readonly onChange: (isChecked: boolean) => void;
};

export function CheckField({ label, isChecked, onChange }: CheckProps) {
  const id = useId();
  return (
    <div class="check">
      <input
        id={id}
        type="checkbox"
        checked={isChecked}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
      <label for={id}>{label}</label>
    </div>
  );
}
