import type { BrokerRecord } from '../contract/click-event.ts';

/**
 * Publishes records to a broker. Each broker has one implementation. A rejected call can have written any of its records: the caller sends
 * all of them again, and the ledger drops the copies.
 */
export type Publisher = {
  /**
   * Resolves when the broker has stored the records durably, except those returned: it has refused them for now, and the caller must send
   * them again. Can be called concurrently.
   */
  readonly publish: (records: readonly BrokerRecord[]) => Promise<readonly BrokerRecord[]>;
  /** Sends one record to every partition or shard. */
  readonly publishEverywhere: (record: BrokerRecord) => Promise<void>;
  readonly close: () => Promise<void>;
};
