import type { Connection, Pool } from '../common/postgres.ts';
import type { ReadRecord } from '../contract/click-event.ts';

/** What the books and an operator ask a broker, beside what consumes it. One implementation a broker. */
export type BrokerBooks = {
  /** Whether what waits lies in the snapshot of the connection itself: then marks that wait say what was accepted by then. */
  readonly isInSnapshot: boolean;
  /**
   * Reads all that waits: what no checkpoint of the connection's snapshot has passed, up to what is there now or later. Some
   * of it may be settled already. Hands it on in pieces.
   */
  readonly readWaiting: (
    connection: Connection,
    take: (records: readonly ReadRecord[]) => Promise<void>,
  ) => Promise<void>;
  /**
   * Has everything that was published since a time read again, as far as the broker still keeps it. Consumers that run notice by
   * themselves; click ids make the second reading harmless.
   */
  readonly rewind: (pool: Pool, since: Date) => Promise<Rewound>;
};

export type Rewound = {
  /** How many records are read again; `null` where the broker cannot tell. */
  readonly records: number | null;
  /** Whether the broker may have deleted some that were published since. */
  readonly short: boolean;
};
