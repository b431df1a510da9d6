import { describe, expect, it } from 'vitest';
import { testDatabase } from '../../support/database.ts';

const BIGINT_MAX = 9_223_372_036_854_775_807n;
/** Settings with which PostgreSQL adds in parallel workers, however small a table is. */
const IN_PARALLEL =
  'set local parallel_setup_cost = 0; set local parallel_tuple_cost = 0; set local min_parallel_table_scan_size = 0';

describe.each([
  ['in one process', 'set local max_parallel_workers_per_gather = 0', 'Aggregate'],
  ['in parallel workers', IN_PARALLEL, 'Partial Aggregate'],
])('bigint_sum %s', (_, settings, node) => {
  const database = testDatabase();

  /** The sum, after a check that the plan adds as the settings say. */
  async function sumOf(amounts: readonly bigint[]): Promise<bigint | null | undefined> {
    const connection = await database.pool.connect();
    try {
      await connection.query('begin');
      await connection.query('create table amount (micros bigint)');
      await connection.query('insert into amount select unnest($1::bigint[])', [amounts]);
      await connection.query(settings);
      const sql = 'select bigint_sum(micros) as total from amount';
      const { rows: plan } = await connection.query(`explain ${sql}`);
      expect(plan.map((row) => row['QUERY PLAN'].trim().replace(/^-> +/, ''))).toContainEqual(
        expect.stringMatching(`^${node}`),
      );
      const { rows } = await connection.query<{ total: bigint | null }>(sql);
      return rows[0]?.total;
    } finally {
      await connection.query('rollback');
      connection.release();
    }
  }

  it('is exact where a float is not', async () => {
    expect(await sumOf([2n ** 53n, 1n, 1n, 1n])).toBe(2n ** 53n + 3n);
    expect(await sumOf([BIGINT_MAX - 7n, -5n, 12n])).toBe(BIGINT_MAX);
  });

  it('is null without rows, as `sum` is', async () => {
    expect(await sumOf([])).toBeNull();
  });

  it('fails if the sum exceeds bigint', async () => {
    await expect(sumOf([BIGINT_MAX, 1n])).rejects.toMatchObject({ code: '22003' });
    await expect(sumOf([-BIGINT_MAX, -2n])).rejects.toMatchObject({ code: '22003' });
  });
});
