import { sleep } from '../../common/process.ts';
import { readSpent } from '../../ledger/live/budgets.ts';
import { BurnRates } from '../../ledger/live/burn-rate.ts';
import { type FeedDeps, LiveFeed } from './live-feed.ts';
import type { Scope } from './live-reads.ts';

/** Time between two samples of what advertisers have spent, in ms. */
const SAMPLE_MS = 10_000;

/** One feed for each scope that has listeners. */
export class LiveFeeds {
  readonly #deps: FeedDeps;
  readonly #feeds = new Map<string, LiveFeed>();

  constructor(deps: Omit<FeedDeps, 'rates'>) {
    this.#deps = { ...deps, rates: new BurnRates() };
  }

  /** Returns the feed of a scope, which begins to read when somebody listens. */
  of(scope: Scope): LiveFeed {
    for (const [key, feed] of this.#feeds) if (feed.listeners === 0) this.#feeds.delete(key);
    const key = scope === null ? 'all' : [...scope].sort((a, b) => a - b).join();
    const feed = this.#feeds.get(key) ?? new LiveFeed(scope, this.#deps);
    this.#feeds.set(key, feed);
    return feed;
  }

  /** Samples what advertisers have spent until `stop`, so that a listener gets rates at once. */
  async sampleRates(stop: AbortSignal): Promise<void> {
    const { pool, rates } = this.#deps;
    for (; !stop.aborted; await sleep(SAMPLE_MS, stop)) {
      try {
        rates.sample(performance.now(), await readSpent(pool));
      } catch {
        // Without an answer of the database there is no sample. The next one spans the gap.
      }
    }
  }
}
