import type { Pool } from '../../common/postgres/postgres.ts';
import { setAdvertiserStatus } from './advertisers.ts';

/** Key of the advisory lock that running load tests share. */
const LOCK = 826_366_247;

/** A load test that is under way: while it lasts, no other one archives its advertisers. */
export type TestRun = {
  /** Archives advertisers of this run. Throws what `pg` throws. */
  readonly archive: (advertiserIds: readonly number[]) => Promise<void>;
  readonly end: () => void;
};

/**
 * Begins a load test. If no other one is under way, archives the advertisers that earlier ones left behind because they were killed or
 * their database was stopped. It holds a connection of the pool until `end`; the server releases the lock when that connection closes.
 */
export async function beginTestRun(pool: Pool): Promise<TestRun> {
  const connection = await pool.connect();
  // The connection is idle during the run. If it breaks, only the lock is lost.
  connection.on('error', () => {});
  try {
    const { rows } = await connection.query<{ isAlone: boolean }>(
      'select pg_try_advisory_lock($1) as "isAlone"',
      [LOCK],
    );
    const isAlone = rows[0]?.isAlone ?? false;
    if (isAlone) await archive(pool, await listLeftBehind(pool));
    // Waits while another load test archives what was left behind.
    await connection.query('select pg_advisory_lock_shared($1)', [LOCK]);
    if (isAlone) await connection.query('select pg_advisory_unlock($1)', [LOCK]);
  } catch (error) {
    connection.release(true);
    throw error;
  }
  return {
    archive: (advertiserIds) => archive(pool, advertiserIds),
    end: () => connection.release(true),
  };
}

async function archive(pool: Pool, advertiserIds: readonly number[]): Promise<void> {
  for (const id of advertiserIds) await setAdvertiserStatus(pool, id, 'archived');
}

async function listLeftBehind(pool: Pool): Promise<number[]> {
  const { rows } = await pool.query<{ id: number }>(
    "select id from advertiser where is_test and status <> 'archived' order by id",
  );
  return rows.map(({ id }) => id);
}

/** Returns the remaining budgets of advertisers by id, in units of their currency. */
export async function readRemaining(
  pool: Pool,
  advertiserIds: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const { rows } = await pool.query<{ id: number; remaining: number }>(
    'select id, remaining_micros / 1e6::float8 as remaining from advertiser where id = any($1::integer[])',
    [advertiserIds],
  );
  return new Map(rows.map(({ id, remaining }) => [id, remaining]));
}
