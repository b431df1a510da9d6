import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import type { TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { type Driver, QUICK } from './broker.ts';

/** The Postgres broker: the server of the test run. */
export const postgresDriver: Driver = {
  name: 'postgres',
  hasCheckpoints: false,
  canFreeze: false,
  missing: async () => null,
  start: async () => ({
    open: async (database, more = {}) => {
      const env = { ...QUICK, BROKER: 'postgres', DATABASE_URL: database.url, ...more };
      const config = parseConfig(env);
      const publisher = createPostgresPublisher(database.pool);
      return {
        env,
        config,
        publisher,
        backlogs: await createBacklogs(config, silent),
        publishTo: async (_, records) => void (await publisher.publish(records)),
        deletePositions: {},
        place: () => /^chunk \d+ record \d+$/,
        close: async () => undefined,
      };
    },
    outage: async (database, during) => {
      await breakConnections(database);
      await during();
      await breakConnections(database);
    },
    freeze: null,
    stop: async () => undefined,
  }),
};

async function breakConnections({ pool }: TestDatabase): Promise<void> {
  await pool.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()`,
  );
}
