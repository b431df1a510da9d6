import type { Pool } from '../common/postgres/postgres.ts';
import type { Backlog } from '../ledger/reconciliation/reconcile.ts';

/** The unsettled records of a broker, for reconciliation and `tollway rewind`. Each broker has one implementation. */
export type BrokerBacklog = Backlog & {
  /**
   * Makes the sources read again all records that were published since a time and that the broker still keeps. Running sources notice it.
   * Records that are in the ledger become duplicates.
   */
  readonly rewind: (pool: Pool, since: Date) => Promise<Rewound>;
};

export type Rewound = {
  /** Number of records that are read again; `null` if the broker does not count them. */
  readonly records: number | null;
  /** Whether the broker can have deleted some of the records that were published since. */
  readonly short: boolean;
};
