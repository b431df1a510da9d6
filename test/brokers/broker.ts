import type { BrokerBacklog } from '../../brokers/backlog.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import type { Config } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import type { TestDatabase } from '../support/database.ts';

/** Partitions or shards of what `open` makes. */
export const SLOTS = 3;

/** One kind of broker, as the contract knows it. */
export type Driver = {
  readonly name: 'postgres' | 'kafka' | 'kinesis';
  /** Whether what is settled is remembered by position; otherwise the record itself is marked. */
  readonly hasCheckpoints: boolean;
  /** Whether its server can be frozen by itself: the Postgres broker's is everybody's. */
  readonly canFreeze: boolean;
  /** One line that says what to install, or `null`. */
  readonly missing: () => Promise<string | null>;
  /** Starts a real server, or finds one. Once a file. */
  readonly start: () => Promise<Server>;
};

export type Server = {
  /** Makes a topic or stream of its own, for the ledger of a database; `more` are settings. */
  readonly open: (database: TestDatabase, more?: Record<string, string>) => Promise<Broker>;
  /**
   * Kills the server without a word, does something, and starts it again with what it had. Of the Postgres broker, which
   * is the server of all tests, it breaks the connections to one database. `null` where the server is not ours.
   */
  readonly outage: Interruption | null;
  /** The same with a server that is there and does not answer. `null` likewise. */
  readonly freeze: Interruption | null;
  readonly stop: () => Promise<void>;
};

export type Interruption = (database: TestDatabase, meanwhile: () => Promise<void>) => Promise<void>;

/** A topic or stream, or the Postgres broker of one database. */
export type Broker = {
  /** The environment of a process that uses it, the ledger's database included. */
  readonly env: Record<string, string>;
  readonly config: Config;
  readonly publisher: Publisher;
  /** Every broker that may hold clicks, for `reconcile`. */
  readonly backlogs: readonly BrokerBacklog[];
  /** Puts records, whatever they are, into the partition or shard of that index, together. */
  readonly publishTo: (slot: number, records: readonly BrokerRecord[]) => Promise<void>;
  /** Ways for what was read to be forgotten outside the ledger, each by its name; none for a broker without checkpoints. */
  readonly forget: Readonly<Record<string, (pool: Pool) => Promise<void>>>;
  /** How the place of a record in a slot reads. */
  readonly place: (slot: number) => RegExp;
  readonly close: () => Promise<void>;
};

/** What is put into the environment of a process, so that tests do not wait for what can be shorter. */
export const QUICK: Record<string, string> = {
  BATCH_SIZE: '100',
  BATCH_WINDOW_MS: '20',
  PARALLELIZATION: '2',
  BROKER_RETENTION_DAYS: '1',
  LOG_LEVEL: 'info',
};

/** Does something between the two halves of an interruption; the second comes whatever happens. */
export function between(begin: () => Promise<void>, end: () => Promise<void>): Interruption {
  return async (_, meanwhile) => {
    await begin();
    try {
      await meanwhile();
    } finally {
      await end();
    }
  };
}
