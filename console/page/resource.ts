import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { type Answer, ApiError, get, type QueryValues, request, urlOf } from './api.ts';
import { heardAt } from './live.ts';

/** What a view has loaded. While it loads again, the old data stay. */
export type Resource<T> = {
  readonly data: T | null;
  /** The ETag of the data, for `If-Match` of a change; `null` if they have none. */
  readonly etag: string | null;
  readonly error: Error | null;
  readonly isLoading: boolean;
  readonly reload: () => void;
  /** Shows data that a change has answered with. */
  readonly replace: (data: T, etag?: string | null) => void;
};

type Loaded<T> = {
  readonly url: string | null;
  readonly data: T | null;
  readonly etag: string | null;
  readonly error: Error | null;
  readonly isLoading: boolean;
};

/**
 * Loads from the API when the path or the query changes, and each `everyMs` if given. `path` of `null` loads nothing. The data of another path
 * are not shown meanwhile. A request that failed because the console or its database was away is repeated when live numbers come again.
 */
export function useResource<T>(path: string | null, query: QueryValues = {}, everyMs?: number): Resource<T> {
  const url = path === null ? null : urlOf(path, query);
  const nothing = { url, data: null, etag: null, error: null };
  const [state, setState] = useState<Loaded<T>>({ ...nothing, isLoading: url !== null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (url === null) return;
    const leaving = new AbortController();
    setState((before) => ({
      ...(before.url === url ? before : nothing),
      isLoading: true,
    }));
    request<T>('GET', url, { signal: leaving.signal }).then(
      ({ data, etag }) => setState({ url, data, etag, error: null, isLoading: false }),
      (error: Error) => {
        if (!leaving.signal.aborted) setState((before) => ({ ...before, url, error, isLoading: false }));
      },
    );
    return () => leaving.abort();
  }, [url, round]);
  const reload = useCallback(() => setRound((count) => count + 1), []);
  useEffect(() => {
    if (everyMs === undefined) return;
    // A page in the background is not seen.
    const timer = setInterval(() => !document.hidden && reload(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, reload]);
  useRetry(state.url === url ? state.error : null, reload);
  const replace = useCallback(
    (data: T, etag: string | null = null) => setState({ url, data, etag, error: null, isLoading: false }),
    [url],
  );
  const isCurrent = state.url === url;
  return {
    data: isCurrent ? state.data : null,
    etag: isCurrent ? state.etag : null,
    error: isCurrent ? state.error : null,
    isLoading: !isCurrent || state.isLoading,
    ...{ reload, replace },
  };
}

/** Time from a failure to the first repetition, in ms. */
const RETRY_MS = 1_000;

/** Repeats what failed because the console or its database was away, when live numbers come again. */
function useRetry(error: Error | null, reload: () => void): void {
  const failedAt = useRef(0);
  const isAway = error instanceof ApiError && (error.status === 0 || error.status >= 502);
  // Read while something has failed only, so that a view is not drawn again each second.
  const heard = isAway ? heardAt.value : null;
  useEffect(() => {
    failedAt.current = performance.now();
  }, [error]);
  useEffect(() => {
    if (heard !== null && heard > failedAt.current + RETRY_MS) reload();
  }, [heard, reload]);
}

/** Loads again when `version` changes: something that belongs to the data was changed. */
export function useReload(reload: () => void, version: unknown): void {
  const seen = useRef(version);
  useEffect(() => {
    if (seen.current === version) return;
    seen.current = version;
    reload();
  }, [reload, version]);
}

/**
 * What a form changes: the resource as it was when the form was opened, so that the API refuses a change that is based on old settings.
 * `readAgain` reads it again after that.
 */
export function useSnapshot<T>(
  path: string,
  opened: Answer<T>,
): { readonly data: T; readonly etag: string | null; readonly readAgain: () => Promise<void> } {
  const [snapshot, setSnapshot] = useState(opened);
  return { ...snapshot, readAgain: async () => setSnapshot(await request<T>('GET', path)) };
}

type Page<T> = { readonly items: readonly T[]; readonly nextCursor: string | null };

/** A list of the API: the pages that were loaded so far. */
export type Pages<T> = {
  readonly items: readonly T[] | null;
  readonly error: Error | null;
  readonly isLoading: boolean;
  /** How many pages were loaded; each can be empty. */
  readonly loaded: number;
  /** Loads the next page; `null` if all pages are loaded. */
  readonly more: (() => void) | null;
  readonly reload: () => void;
};

/** Loads a list page by page. A changed query begins with the first page, which is read again each `everyMs` while it is the only one. */
export function usePages<T>(path: string, query: QueryValues = {}, everyMs?: number): Pages<T> {
  const [rest, setRest] = useState<{ of: Page<T> | null; pages: readonly Page<T>[]; error: Error | null }>({
    ...{ of: null, pages: [], error: null },
  });
  const first = useResource<Page<T>>(path, query, rest.pages.length === 0 ? everyMs : undefined);
  const isBusy = useRef(false);
  const pages = rest.of === first.data ? rest.pages : [];
  const cursor = (pages.at(-1) ?? first.data)?.nextCursor ?? null;
  const more = () => {
    if (isBusy.current) return;
    isBusy.current = true;
    get<Page<T>>(path, { ...query, cursor })
      .then(
        (page) => setRest({ of: first.data, pages: [...pages, page], error: null }),
        (error: Error) => setRest({ of: first.data, pages, error }),
      )
      .finally(() => {
        isBusy.current = false;
      });
  };
  const items = first.data && [first.data, ...pages].flatMap((page) => page.items);
  const error = first.error ?? (rest.of === first.data ? rest.error : null);
  return {
    items,
    error,
    isLoading: first.isLoading,
    loaded: first.data === null ? 0 : 1 + pages.length,
    more: cursor === null ? null : more,
    reload: first.reload,
  };
}
