import type { BrokerRecord } from '../contract/click-event.ts';

/**
 * The port through which clicks reach a broker. One implementation a broker.
 * A rejected call says nothing about what was written: the same records are sent again, and the
 * database drops the copies.
 */
export type Publisher = {
  /**
   * Resolves when the broker has made every record durable but those it answers: these the broker has refused for now, and
   * they are to be sent again. Safe to call concurrently.
   */
  readonly publish: (records: readonly BrokerRecord[]) => Promise<readonly BrokerRecord[]>;
  /** Sends one record to every partition or shard there is. */
  readonly publishEverywhere: (record: BrokerRecord) => Promise<void>;
  readonly close: () => Promise<void>;
};
