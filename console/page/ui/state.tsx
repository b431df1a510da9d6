import type { ComponentChildren } from 'preact';
import { ApiError } from '../api.ts';
import type { Resource } from '../resource.ts';
import { texts } from '../texts.ts';
import { Button } from './button.tsx';

type EmptyProps = {
  readonly title: string;
  /** What to do now. */
  readonly children?: ComponentChildren;
  readonly actions?: ComponentChildren;
};

/** What stands where nothing is yet: it says what to do. */
export function Empty({ title, children, actions }: EmptyProps) {
  return (
    <div class="empty">
      <p class="strong">{title}</p>
      {children !== undefined && <p>{children}</p>}
      {actions !== undefined && <div class="actions">{actions}</div>}
    </div>
  );
}

type Tone = 'info' | 'good' | 'warn' | 'bad';

/** A sentence that should be noticed. */
export function Note({
  tone = 'info',
  children,
}: {
  readonly tone?: Tone;
  readonly children: ComponentChildren;
}) {
  return (
    <div class={`note-box ${tone === 'info' ? '' : tone}`}>
      <div>{children}</div>
    </div>
  );
}

/** What happened instead, in the words of the API. */
export function ErrorBox({
  error,
  retry,
  retryLabel = texts.errors.retry,
}: {
  readonly error: Error;
  readonly retry?: () => void;
  readonly retryLabel?: string;
}) {
  const fields = error instanceof ApiError ? error.fields : [];
  return (
    <div class="note-box bad" role="alert">
      <div>
        <p class="strong">{texts.errors.title}</p>
        {fields.length > 0 ? (
          <ul>
            {fields.map(({ pointer, detail }) => (
              <li key={pointer}>
                {pointer.slice(1)}: {detail}
              </li>
            ))}
          </ul>
        ) : (
          <p>{error.message}</p>
        )}
      </div>
      {retry && <Button onClick={retry}>{retryLabel}</Button>}
    </div>
  );
}

/** Lines of the height of a text, which stand where data will be. */
export function Skeleton({ lines = 3 }: { readonly lines?: number }) {
  return (
    <div class="stack" role="status" aria-label={texts.controls.loading}>
      {Array.from({ length: lines }, (_, line) => (
        <div key={line} class="skeleton">
          {texts.controls.loading}
        </div>
      ))}
    </div>
  );
}

type LoadedProps<T> = {
  readonly resource: Pick<Resource<T>, 'data' | 'error' | 'reload'>;
  readonly lines?: number;
  readonly children: (data: T) => ComponentChildren;
};

/** Shows what was loaded, and meanwhile that it loads, or why it could not be loaded. Old data stay beside an error. */
export function Loaded<T>({ resource, lines = 3, children }: LoadedProps<T>) {
  const { data, error, reload } = resource;
  return (
    <>
      {error && <ErrorBox error={error} retry={reload} />}
      {data !== null ? children(data) : !error && <Skeleton lines={lines} />}
    </>
  );
}
