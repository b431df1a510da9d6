import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

/** PostgreSQL counts the parallel workers of a database since version 18. */
async function countsWorkers(): Promise<boolean> {
  const { rows } = await database.pool.query<{ number: string }>(
    `select current_setting('server_version_num') as number`,
  );
  return Number(rows[0]?.number) >= 180_000;
}

/** Number of parallel workers that PostgreSQL planned to launch in this database. */
async function workersPlanned(pool: Pool): Promise<bigint | undefined> {
  await pool.query('select pg_stat_force_next_flush()');
  const { rows } = await pool.query<{ workers: bigint }>(
    'select parallel_workers_to_launch as workers from pg_stat_database where datname = current_database()',
  );
  return rows[0]?.workers;
}

it('A batch starts no parallel workers, even if PostgreSQL would for every statement', async (context) => {
  if (!(await countsWorkers())) context.skip('needs PostgreSQL 18, which counts parallel workers');
  const { ad } = await addAccount(database.pool);
  const pool = createPool(database.url, 'test', 1, () => {});
  const nonces = [1, 5, 9].map((days) => uuidV7(Date.now() - days * DAY_MS));
  const clicks = nonces.map((nonce) => clickRecord({ ad, nonce }));
  try {
    // The pool then knows the user agent, and sends nothing before the transaction.
    await chargeBatch(pool, [clickRecord({ ad })]);
    const before = await workersPlanned(pool);
    await pool.query('set debug_parallel_query = on');
    expect(await chargeBatch(pool, clicks)).toEqual(['charged', 'charged', 'charged']);
    await pool.query('set debug_parallel_query = off');
    expect(await workersPlanned(pool)).toBe(before);
    await pool.query('set debug_parallel_query = on');
    await pool.query('select count(*) from ledger');
    expect(await workersPlanned(pool)).toBeGreaterThan(before ?? 0n);
  } finally {
    await pool.end();
  }
});
