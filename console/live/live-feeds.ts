import { type FeedDeps, LiveFeed, type Scope } from './live-feed.ts';

/** One feed for each scope that has listeners. */
export class LiveFeeds {
  readonly #deps: FeedDeps;
  readonly #feeds = new Map<string, LiveFeed>();

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  /** Returns the feed of a scope, which begins to read when somebody listens. */
  of(scope: Scope): LiveFeed {
    for (const [key, feed] of this.#feeds) if (feed.listeners === 0) this.#feeds.delete(key);
    const key = scope === null ? 'all' : [...scope].sort((a, b) => a - b).join();
    const feed = this.#feeds.get(key) ?? new LiveFeed(scope, this.#deps);
    this.#feeds.set(key, feed);
    return feed;
  }
}
