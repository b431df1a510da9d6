import { TollwayError } from '../../common/errors.ts';

/** Exports, reports and reconciliations at once. Each uses one connection of a pool for them, so that they keep none from other requests. */
export const LONG_REQUESTS_MAX = 4;
/** Those of one key. */
const OF_KEY_MAX = 2;
/** Longest wait for a turn, in ms: a page asks for several reports at once, which take milliseconds each. */
const WAIT_MS_MAX = 1_000;
const WAITING_MAX = 100;

type Waiting = { readonly keyId: number; readonly begin: () => void };

/** Limits the requests that can use the database for minutes, in all and of each key. */
export class LongRequests {
  /** The key of each request that has begun. */
  readonly #keyIds: number[] = [];
  readonly #waiting = new Set<Waiting>();

  /** Does the work of a request in its turn. Throws `busy`, and what `work` throws. */
  async run<T>(keyId: number, work: () => Promise<T>): Promise<T> {
    const end = await this.begin(keyId);
    try {
      return await work();
    } finally {
      end();
    }
  }

  /**
   * Begins a request of a key as soon as it may run, and returns a function that ends it. Call it when the work has ended: that of a client
   * that has gone still uses the database. Throws `busy` if it may not run within a second.
   */
  async begin(keyId: number): Promise<() => void> {
    if (this.#hasRoom(keyId)) return this.#start(keyId);
    if (this.#waiting.size >= WAITING_MAX) throw this.#refusal(keyId);
    return new Promise((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        resolve(this.#start(keyId));
      };
      const waiting: Waiting = { keyId, begin };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        reject(this.#refusal(keyId));
      }, WAIT_MS_MAX);
      this.#waiting.add(waiting);
    });
  }

  #start(keyId: number): () => void {
    this.#keyIds.push(keyId);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#keyIds.splice(this.#keyIds.indexOf(keyId), 1);
      for (const { keyId: next, begin } of this.#waiting) if (this.#hasRoom(next)) begin();
    };
  }

  #ofKey(keyId: number): number {
    return this.#keyIds.filter((one) => one === keyId).length;
  }

  #hasRoom(keyId: number): boolean {
    return this.#keyIds.length < LONG_REQUESTS_MAX && this.#ofKey(keyId) < OF_KEY_MAX;
  }

  #refusal(keyId: number): TollwayError {
    const [max, owner] =
      this.#ofKey(keyId) < OF_KEY_MAX ? [LONG_REQUESTS_MAX, 'this console'] : [OF_KEY_MAX, 'one key'];
    return new TollwayError(
      'busy',
      `Expected at most ${max} exports, reports and reconciliations of ${owner} at once, got more: try again when one has ended`,
    );
  }
}
