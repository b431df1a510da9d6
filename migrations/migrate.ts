import { runner } from 'node-pg-migrate';
import { parseConfig } from '../common/config/config.ts';
import { readEnvironment } from '../common/config/environment.ts';
import { warnOfMisspelt } from '../common/config/misspelt-settings.ts';
import { errorCode, errorMessage, TollwayError } from '../common/errors.ts';
import { createClient } from '../common/postgres/postgres.ts';
import { assertSupportedServer } from '../common/postgres/version.ts';
import { createLogger, type Logger } from '../common/telemetry/logger.ts';
import { printableLines } from '../common/text.ts';
import { databaseTime, extendPartitions, type Retention, retentionOf } from '../ledger/partitions.ts';
import { grantTables } from './grants.ts';

/**
 * Migrates a database to the newest schema, creates the partitions for the days around today and grants privileges to the existing roles.
 * Safe to run concurrently: one process migrates, the others wait and have nothing to do.
 * Throws `cannot_connect`, `unsupported_postgres`, `clock_step`, and errors of `pg`; the transaction that failed is rolled back.
 */
export async function migrate(databaseUrl: string, retention: Retention, logger: Logger): Promise<void> {
  const client = createClient(databaseUrl, 'migrate');
  await client.connect().catch((error: unknown) => {
    const reason = errorCode(error) ?? '';
    // Only codes of Node's sockets: the messages of PostgreSQL are clear.
    if (!/^E[A-Z]+$/.test(reason)) throw error;
    throw new TollwayError(
      'cannot_connect',
      `DATABASE_URL: cannot connect to ${client.host}:${client.port} (${reason})`,
      { cause: error },
    );
  });
  try {
    await assertSupportedServer(client);
    await runner({
      dbClient: client,
      dir: import.meta.dirname,
      ignorePattern: '.*\\.ts',
      direction: 'up',
      migrationsTable: 'schema_migration',
      advisoryLockMode: 'wait',
      logger: {
        debug: () => {},
        info: (message) => logger.debug(message),
        warn: (message) => logger.warn(message),
        error: (message) => logger.error(message),
      },
    });
    await client.query('begin');
    await extendPartitions(client, retention, await databaseTime(client));
    await grantTables(client);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

async function main(): Promise<void> {
  const env = readEnvironment();
  const config = parseConfig(env);
  if (config.DATABASE_URL === undefined) {
    throw new TollwayError(
      'bad_settings',
      'DATABASE_URL: expected the URL of the database to migrate, got nothing',
    );
  }
  const logger = createLogger('migrate', config);
  warnOfMisspelt(env, logger);
  await migrate(config.DATABASE_URL, retentionOf(config), logger);
  logger.info('The schema of the database is up to date');
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    process.stderr.write(`${printableLines(errorMessage(error))}\n`);
    process.exitCode = 1;
  });
}
