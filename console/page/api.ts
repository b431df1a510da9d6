import { texts } from './texts.ts';

/** The code of a request that got no answer of the console, but none at all or that of a proxy. */
export const UNREACHABLE = 'unreachable';

/** The code of the error while the database does not answer the console. */
export const DATABASE_AWAY = 'database_away';

/** A request that failed: the problem details of the API, or `unreachable` if the console does not answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  /** What is wrong with single fields, by JSON pointer. */
  readonly fields: readonly { readonly pointer: string; readonly detail: string }[];

  constructor(status: number, code: string, message: string, fields: ApiError['fields'] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

export type QueryValues = Readonly<
  Record<string, string | number | boolean | readonly string[] | null | undefined>
>;

type Options = {
  readonly query?: QueryValues;
  readonly body?: unknown;
  /** The ETag that the change is based on; the API refuses it if the settings have changed since. */
  readonly etag?: string | null;
  /** The form that sends the request, for the same key after a lost answer. */
  readonly attempts?: Attempts;
  readonly signal?: AbortSignal;
};

/**
 * The `Idempotency-Key` of each POST of a form whose answer was lost, by path and body. The same request again has the same key, so the API
 * carries it out once; another body is another request.
 */
export type Attempts = Map<string, string>;

export type Answer<T> = { readonly data: T; readonly etag: string | null };

/** Called when the API answers that nobody is logged in. `session.ts` sets it. */
export const onLoggedOut: { call: () => void } = { call: () => {} };

/** Longest wait for an answer, in ms. A report of a large ledger takes seconds. */
const ANSWER_MS_MAX = 90_000;

/** Sends a request to the API. Throws `ApiError`. */
export async function request<T>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
  const { body, etag, attempts = new Map(), query = {}, signal } = options;
  const headers: Record<string, string> = { accept: 'application/json, application/problem+json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (etag) headers['if-match'] = etag;
  const attempt = `${path} ${JSON.stringify(body)}`;
  const key = attempts.get(attempt) ?? randomId();
  if (method === 'POST') {
    headers['idempotency-key'] = key;
    attempts.set(attempt, key);
  }
  const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const response = await send(urlOf(path, query), init, method === 'GET' || method === 'POST', signal);
  const text = await response.text();
  // An answer of a proxy in between, such as 504, does not tell what the API did.
  if (response.status < 500) attempts.delete(attempt);
  const data: unknown = /\bjson\b/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : text;
  if (!response.ok) throw toError(response.status, data);
  // The schema of the API describes the answer.
  return { data: data as T, etag: response.headers.get('etag') };
}

export const get = async <T>(path: string, query: QueryValues = {}, signal?: AbortSignal): Promise<T> =>
  (await request<T>('GET', path, { query, ...(signal && { signal }) })).data;
export const post = async <T>(path: string, body: unknown, attempts?: Attempts): Promise<T> =>
  (await request<T>('POST', path, { body, ...(attempts && { attempts }) })).data;
/** Changes settings, if they are still those of the ETag. */
export const patch = <T>(path: string, body: unknown, etag: string | null): Promise<Answer<T>> =>
  request<T>('PATCH', path, { body, etag });

/** The path with the parameters that have a value. */
export function urlOf(path: string, query: QueryValues): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '') continue;
    parameters.append(name, Array.isArray(value) ? value.join() : String(value));
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

/** Asks for a stream and closes it at once. Returns why it was refused or not answered; `null` if it was opened. */
export async function refusalOf(path: string): Promise<ApiError | null> {
  const closing = new AbortController();
  try {
    const response = await send(urlOf(path, {}), { method: 'GET' }, false, closing.signal);
    return response.ok ? null : toError(response.status, await response.json().catch(() => null));
  } catch (error) {
    return error as ApiError;
  } finally {
    closing.abort();
  }
}

/**
 * Repeats a request once whose answer was lost. A POST has an `Idempotency-Key`, so it is carried out once. One without an answer in time is not
 * repeated: the console may still be at work on it.
 */
async function send(
  url: string,
  init: RequestInit,
  canRepeat: boolean,
  signal?: AbortSignal,
): Promise<Response> {
  const once = () => {
    const timeout = AbortSignal.timeout(ANSWER_MS_MAX);
    return fetch(url, { ...init, signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
  };
  try {
    return await once().catch((error: unknown) => {
      if (!canRepeat || signal?.aborted || (error as Error).name === 'TimeoutError') throw error;
      return once();
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, UNREACHABLE, texts.errors.unreachable);
  }
}

/** The error of a value that a form finds wrong itself, as the API would answer it. `name`: that of the value in the body. */
export function fieldError(name: string, detail: string): ApiError {
  return new ApiError(400, 'bad_request', detail, [{ pointer: `/${name}`, detail }]);
}

function toError(status: number, data: unknown): ApiError {
  const problem = (typeof data === 'object' && data !== null ? data : {}) as {
    code?: string;
    detail?: string;
    errors?: ApiError['fields'];
  };
  const code = problem.code ?? UNREACHABLE;
  if (code === 'unauthenticated') onLoggedOut.call();
  return new ApiError(status, code, problem.detail ?? texts.errors.unreachable, problem.errors);
}

/** Random hexadecimal digits. `crypto.randomUUID` is missing on pages without TLS. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
