import type { BrokerRecord } from './click-event.ts';

/**
 * The port through which clicks reach a broker. One implementation a broker.
 * A rejected call says nothing about what was written: the same records are sent again, and the
 * database drops the copies.
 */
export type Publisher = {
  /** Resolves when the broker has made every record durable. Safe to call concurrently. */
  readonly publish: (records: readonly BrokerRecord[]) => Promise<void>;
  /** Sends one record to every partition or shard there is. */
  readonly publishEverywhere: (record: BrokerRecord) => Promise<void>;
  readonly close: () => Promise<void>;
};
