import { describe, expect, it } from 'vitest';
import { migrate } from '../../migrations/migrate.ts';
import { addAccount, clickRecord, createTestDatabase, silent, testDatabase } from '../setup/database.ts';
import { RETENTION } from '../setup/retention.ts';
import { deliverTwice, expectBalanced } from './deliver.ts';

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

  it('is done once by twenty runners at once on an empty database', async () => {
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
    ]);
  });

  it('changes nothing when it runs again', async () => {
    const before = await schema();
    await migrate(database.url, RETENTION, silent);
    expect(await schema()).toEqual(before);
  });

  it('leaves a database that takes clicks', async () => {
    const { ad } = await addAccount(database.pool);
    expect(await deliverTwice(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
    await expectBalanced(database.pool);
  });
});

it('fails with what PostgreSQL says when there is no such database', async () => {
  const gone = await createTestDatabase({ empty: true });
  await gone.drop();
  await expect(migrate(gone.url, RETENTION, silent)).rejects.toMatchObject({ code: '3D000' });
});
