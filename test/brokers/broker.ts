import type { BrokerBacklog } from '../../brokers/backlog.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import type { Config } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import type { TestDatabase } from '../support/database.ts';

/** Number of partitions or shards of a topic or stream that `open` creates. */
export const SLOTS = 3;

/** One kind of broker, for the tests that run on every broker. */
export type Driver = {
  readonly name: Config['BROKER'];
  /** Whether the broker has checkpoints; otherwise the record itself is marked as settled. */
  readonly hasCheckpoints: boolean;
  /** Whether its server can be frozen alone. The Postgres broker's server is that of all tests. */
  readonly canFreeze: boolean;
  /** What to install, in one line, or `null`. */
  readonly missing: () => Promise<string | null>;
  /** Starts a real server, or uses a running one. Called once for each test file. */
  readonly start: () => Promise<Server>;
};

export type Server = {
  /** Creates a topic or stream for the ledger of a database; `more` are settings. */
  readonly open: (database: TestDatabase, more?: Record<string, string>) => Promise<Broker>;
  /**
   * Kills the server, runs `during`, and starts the server again with its data. For the Postgres broker, whose server is that of all
   * tests, breaks the connections to one database. `null` if the tests did not start the server.
   */
  readonly outage: Interruption | null;
  /** The same with a server that accepts connections and does not answer. `null` likewise. */
  readonly freeze: Interruption | null;
  readonly stop: () => Promise<void>;
};

export type Interruption = (database: TestDatabase, during: () => Promise<void>) => Promise<void>;

/** A topic or stream, or the Postgres broker of one database. */
export type Broker = {
  /** The environment of a process that uses it, the ledger's database included. */
  readonly env: Record<string, string>;
  readonly config: Config;
  readonly publisher: Publisher;
  /** The backlogs of every broker that can hold clicks, for `reconcile`. */
  readonly backlogs: readonly BrokerBacklog[];
  /** Publishes any records together into the partition or shard of that index. */
  readonly publishTo: (slot: number, records: readonly BrokerRecord[]) => Promise<void>;
  /** Actions that delete positions outside the ledger, by name; none for a broker without checkpoints. */
  readonly deletePositions: Readonly<Record<string, (pool: Pool) => Promise<void>>>;
  /** The pattern of the position of a record in a partition or shard. */
  readonly place: (slot: number) => RegExp;
  readonly close: () => Promise<void>;
};

/** Settings that make processes poll faster, so that tests wait less. */
export const QUICK: Record<string, string> = {
  BATCH_SIZE: '100',
  BATCH_WINDOW_MS: '20',
  PARALLELIZATION: '2',
  BROKER_RETENTION_DAYS: '1',
  LOG_LEVEL: 'info',
};

/** Runs `during` between the start and the end of an interruption, and always ends the interruption. */
export function between(begin: () => Promise<void>, end: () => Promise<void>): Interruption {
  return async (_, during) => {
    await begin();
    try {
      await during();
    } finally {
      await end();
    }
  };
}
