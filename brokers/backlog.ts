import type { Pool } from '../common/postgres/postgres.ts';
import type { Backlog } from '../ledger/reconcile.ts';

/** What reconciliation and an operator ask a broker, beside what consumes it. One implementation a broker. */
export type BrokerBacklog = Backlog & {
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
