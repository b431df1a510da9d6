import { readdir } from 'node:fs/promises';
import { readEnvironment } from '../common/config/environment.ts';
import { warnOfMisspelt } from '../common/config/misspelt-settings.ts';
import { parseSettings } from '../common/config/parse-settings.ts';
import { errorCode, errorMessage, TollwayError } from '../common/errors.ts';
import { type Client, createClient } from '../common/postgres/postgres.ts';
import { assertSupportedServer } from '../common/postgres/version.ts';
import { createLogger, type Logger } from '../common/telemetry/logger.ts';
import { printableLines } from '../common/text.ts';
import { databaseTime, extendPartitions, type Retention, retentionOf } from '../ledger/partitions.ts';
import { grantTables } from './grants.ts';

/** The table in which node-pg-migrate records the migrations. */
const TABLE = 'schema_migration';

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
    const { unknown, isComplete } = await compareMigrations(client);
    if (unknown.length > 0)
      logger.warn(
        { migrations: unknown },
        'A newer version of Tollway has migrated the database. This version runs on its tables and leaves them as they are',
      );
    if (!isComplete) await runMigrations(client, logger);
    await client.query('begin');
    await extendPartitions(client, retention, await databaseTime(client));
    await grantTables(client);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

/**
 * Compares the migrations of a database with those of this folder: which it has beyond them, and whether it has all of them. Then there is
 * nothing to load and to lock.
 */
async function compareMigrations(client: Client): Promise<{ unknown: string[]; isComplete: boolean }> {
  const { rows: tables } = await client.query(
    `select 1 from pg_tables where tablename = '${TABLE}' and schemaname = 'public'`,
  );
  if (tables.length === 0) return { unknown: [], isComplete: false };
  const { rows } = await client.query<{ name: string }>(`select name from public.${TABLE} order by name`);
  const applied = rows.map(({ name }) => `${name}.sql`);
  const files = (await readdir(import.meta.dirname)).filter((name) => name.endsWith('.sql'));
  return {
    unknown: rows.flatMap(({ name }) => (files.includes(`${name}.sql`) ? [] : [name])),
    isComplete: files.every((file) => applied.includes(file)),
  };
}

async function runMigrations(client: Client, logger: Logger): Promise<void> {
  const { runner } = await import('node-pg-migrate');
  await runner({
    dbClient: client,
    dir: import.meta.dirname,
    ignorePattern: '.*\\.ts',
    direction: 'up',
    migrationsTable: TABLE,
    advisoryLockMode: 'wait',
    logger: {
      debug: () => {},
      info: (message) => logger.debug(message),
      warn: (message) => logger.warn(message),
      error: (message) => logger.error(message),
    },
  });
}

async function main(): Promise<void> {
  const env = readEnvironment();
  const config = parseSettings(env);
  const logger = createLogger('migrate', config);
  // Before the error of a missing setting: a misspelt name is its likely cause.
  warnOfMisspelt(env, logger);
  if (config.DATABASE_URL === undefined) {
    throw new TollwayError(
      'bad_settings',
      'DATABASE_URL: expected the URL of the database to migrate, got nothing',
    );
  }
  await migrate(config.DATABASE_URL, retentionOf(config), logger);
  logger.info('The schema of the database is up to date');
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    process.stderr.write(`${printableLines(errorMessage(error))}\n`);
    process.exitCode = 1;
  });
}
