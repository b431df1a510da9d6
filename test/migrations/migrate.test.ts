import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runner } from 'node-pg-migrate';
import { describe, expect, it } from 'vitest';
import { createClient, createPool, failureKind, inTransaction } from '../../common/postgres/postgres.ts';
import { NEWEST_MIGRATION } from '../../common/postgres/schema.ts';
import { GRANTS } from '../../migrations/grants.ts';
import { migrate } from '../../migrations/migrate.ts';
import { chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase, testDatabase } from '../support/database.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { clickRecord } from '../support/records.ts';
import { RETENTION } from '../support/retention.ts';

const FOLDER = join(import.meta.dirname, '../../migrations');

describe('the migration', () => {
  const database = testDatabase({ empty: true, poolSize: 4 });

  async function schema() {
    const { rows } = await database.pool.query(
      `select (select json_agg(json_build_array(relname, relkind, oid) order by oid) from pg_class
           where relnamespace = 'public'::regnamespace) as relations,
         (select json_agg(m order by id) from schema_migration m) as migrations,
         (select json_agg(w) from ledger_window w) as ledger_window`,
    );
    return rows[0];
  }

  it('runs once for twenty concurrent runners on an empty database', async () => {
    const runs = Array.from({ length: 20 }, () => migrate(database.url, RETENTION, silent));
    expect(await Promise.allSettled(runs)).toEqual(
      runs.map(() => ({ status: 'fulfilled', value: undefined })),
    );
    const { migrations } = await schema();
    expect(migrations.map(({ name }: { name: string }) => name)).toEqual([
      '0001_advertisers',
      '0002_ledger',
      '0003_postgres_broker',
      '0004_broker_checkpoint',
      '0005_click_rollup',
      '0006_console',
      '0007_audit',
      '0008_sessions',
      '0009_parts',
      '0010_reconciliation',
      '0011_advertiser_clicks',
    ]);
  });

  it('changes nothing when it runs again', async () => {
    const before = await schema();
    await migrate(database.url, RETENTION, silent);
    expect(await schema()).toEqual(before);
  });

  it('says that a newer version has migrated the database, and leaves it as it is', async () => {
    const { logger, lines } = capturedLog();
    await database.pool.query(`insert into schema_migration (name, run_on) values ('9999_later', now())`);
    const before = await schema();
    await migrate(database.url, RETENTION, logger);
    expect(await schema()).toEqual(before);
    expect(lines).toEqual([
      expect.stringMatching(/^warn A newer version of Tollway has migrated the database\. /),
    ]);
    await database.pool.query(`delete from schema_migration where name = '9999_later'`);
  });

  it('has the newest file as the one that parts need', () => {
    const files = readdirSync(FOLDER).filter((name) => name.endsWith('.sql'));
    expect(files.toSorted().at(-1)).toBe(`${NEWEST_MIGRATION}.sql`);
  });

  it('grants every table and view to a role, and no other', async () => {
    const { rows } = await database.pool.query<{ name: string }>(
      "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v') and not relispartition",
    );
    const granted = new Set(Object.values(GRANTS).flatMap((tables) => Object.keys(tables)));
    expect([...granted].toSorted()).toEqual(rows.map(({ name }) => name).toSorted());
  });

  it('makes a database that can charge clicks', async () => {
    const { ad } = await addAccount(database.pool);
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
    await expectBalanced(database.pool);
  });
});

it('The migration brings the database of an older version up to date', async () => {
  const database = await createTestDatabase({ empty: true });
  const client = createClient(database.url, 'test');
  await client.connect();
  await runner({
    dbClient: client,
    dir: FOLDER,
    ignorePattern: '.*\\.ts',
    direction: 'up',
    count: 3,
    migrationsTable: 'schema_migration',
    log: () => {},
  });
  await migrate(database.url, RETENTION, silent);
  const { rows } = await client.query('select name from schema_migration order by id');
  expect(rows.map(({ name }) => `${name}.sql`)).toEqual(
    readdirSync(FOLDER).filter((name) => name.endsWith('.sql')),
  );
  await client.end();
  await database.drop();
});

it('The migration fails with the error of PostgreSQL if the database does not exist', async () => {
  const gone = await createTestDatabase({ empty: true });
  await gone.drop();
  await expect(migrate(gone.url, RETENTION, silent)).rejects.toMatchObject({ code: '3D000' });
});

it('The migration names the setting and the address if nothing listens there', async () => {
  await expect(migrate('postgres://a:secret@127.0.0.1:1/none', RETENTION, silent)).rejects.toThrow(
    /^DATABASE_URL: cannot connect to 127\.0\.0\.1:1 \(ECONNREFUSED\)$/,
  );
});

describe('a server that is too old', () => {
  const database = testDatabase({ empty: true, poolSize: 1 });

  it('is refused by the migration and by pools, with both versions in the error', async () => {
    await pretendVersion(database, '14.19', '140019');
    const refusal = {
      code: 'unsupported_postgres',
      retryable: true,
      message: expect.stringContaining('Expected PostgreSQL 15 or newer, got 14.19'),
    };
    await expect(migrate(database.url, RETENTION, silent)).rejects.toMatchObject(refusal);
    const pool = createPool(database.url, 'test', 1, () => {});
    await expect(pool.query('select 1')).rejects.toMatchObject(refusal);
    await expect(inTransaction(pool, async () => {})).rejects.toSatisfy(
      (error) => failureKind(error) === 'transient',
    );
    await pool.end();
  });

  it('is accepted from PostgreSQL 15 on', async () => {
    await pretendVersion(database, '15.0', '150000');
    const pool = createPool(database.url, 'test', 1, () => {});
    await expect(pool.query('select 1')).resolves.toMatchObject({ rowCount: 1 });
    await pool.end();
  });
});

/** Makes a database report another version to new connections: a schema before `pg_catalog` defines `current_setting`. */
async function pretendVersion({ url, pool }: TestDatabase, version: string, number: string): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  await pool.query(
    `create schema if not exists pretended;
     create or replace function pretended.current_setting(setting text) returns text language sql as
       $$ select case setting when 'server_version' then '${version}' when 'server_version_num' then '${number}'
          else pg_catalog.current_setting(setting) end $$;
     alter database "${name}" set search_path = pretended, pg_catalog, public`,
  );
}
