import { errorCode, TollwayError } from '../../common/errors.ts';

/** Exports, reports and reconciliations at once. Each uses one connection of a pool for them, so that they keep none from other requests. */
export const LONG_REQUESTS_MAX = 4;
/** Exports among them, each of another caller. One lasts as long as its client reads, which can be hours. */
const EXPORTS_MAX = 2;
/** Those of one caller. */
const OF_CALLER_MAX = 2;
/** Longest wait for a turn, in ms: a page asks for several reports at once, which take milliseconds each. */
const WAIT_MS_MAX = 1_000;
const WAITING_MAX = 100;
/** SQLSTATE of a query that took longer than its pool allows. */
const QUERY_CANCELED = '57014';

/** `limitedAs`: see `Authentication`. */
type LongRequest = { readonly kind: 'export' | 'report' | 'reconciliation'; readonly limitedAs: string };
type Waiting = { readonly request: LongRequest; readonly begin: () => void };

/** Limits the requests that can use the database for minutes, in all and of each caller. */
export class LongRequests {
  readonly #running: LongRequest[] = [];
  readonly #waiting = new Set<Waiting>();

  /** Does the work of a request in its turn. Throws `busy`, `query_too_long`, and what `work` throws. */
  async run<T>(request: LongRequest, work: () => Promise<T>): Promise<T> {
    const end = await this.begin(request);
    try {
      return await work();
    } catch (error) {
      throwTooLong(error);
    } finally {
      end();
    }
  }

  /**
   * Begins a request as soon as it may run, and returns a function that ends it. Call it when the work has ended: that of a client that has
   * gone still uses the database. Throws `busy` if it may not run within a second.
   */
  async begin(request: LongRequest): Promise<() => void> {
    if (this.#excess(request) === null) return this.#start(request);
    if (this.#waiting.size >= WAITING_MAX) throw this.#refusal(request);
    return new Promise((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        resolve(this.#start(request));
      };
      const waiting: Waiting = { request, begin };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        reject(this.#refusal(request));
      }, WAIT_MS_MAX);
      this.#waiting.add(waiting);
    });
  }

  #start(request: LongRequest): () => void {
    // An object of its own, which `indexOf` finds again.
    const running = { ...request };
    this.#running.push(running);
    return () => {
      const index = this.#running.indexOf(running);
      if (index < 0) return;
      this.#running.splice(index, 1);
      for (const { request: next, begin } of this.#waiting) if (this.#excess(next) === null) begin();
    };
  }

  /** The limit that keeps a request from running now, in words, or `null`. */
  #excess({ kind, limitedAs }: LongRequest): string | null {
    const all = this.#running;
    const own = all.filter((one) => one.limitedAs === limitedAs);
    if (own.length >= OF_CALLER_MAX)
      return `${OF_CALLER_MAX} exports, reports and reconciliations of one key or session`;
    if (kind === 'export' && own.some((one) => one.kind === 'export'))
      return '1 export of one key or session';
    if (kind === 'export' && all.filter((one) => one.kind === 'export').length >= EXPORTS_MAX)
      return `${EXPORTS_MAX} exports of this console`;
    return all.length < LONG_REQUESTS_MAX
      ? null
      : `${LONG_REQUESTS_MAX} exports, reports and reconciliations of this console`;
  }

  #refusal(request: LongRequest): TollwayError {
    const most = this.#excess(request) ?? `${WAITING_MAX} waiting requests`;
    return new TollwayError(
      'busy',
      `Expected at most ${most} at once, got more: try again when one has ended`,
    );
  }
}

/** Throws `query_too_long` for a query that the database has ended, and every other error as it is. */
export function throwTooLong(error: unknown): never {
  if (errorCode(error) !== QUERY_CANCELED) throw error;
  const text =
    'The database ended a query that took too long. Ask for less, such as a shorter period, or use the command line';
  throw new TollwayError('query_too_long', text, { cause: error });
}
