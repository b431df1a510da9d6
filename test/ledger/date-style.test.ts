import { describe, expect, it, onTestFinished } from 'vitest';
import { createPool, failureKind } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

/** A database whose connections write dates in a style, with a pool and an ad. */
async function databaseWith(style: string) {
  const database = await createTestDatabase();
  onTestFinished(database.drop);
  const { ad } = await addAccount(database.pool);
  const name = new URL(database.url).pathname.slice(1);
  await database.pool.query(`alter database ${name} set datestyle = '${style}'`);
  const pool = createPool(database.url, 'test', 4, () => {});
  onTestFinished(() => pool.end());
  return { pool, ad };
}

describe('a database whose DateStyle is', () => {
  // A day up to the 12th would be read as a month, and the days of late clicks would not be found.
  it.each(['SQL, DMY', 'SQL, MDY', 'German', 'Postgres, DMY'])(
    '%s is refused, and clicks wait',
    async (style) => {
      const { pool, ad } = await databaseWith(style);
      const error = await chargeBatchTwice(pool, [clickRecord({ ad })]).catch((reason: unknown) => reason);
      expect(error).toMatchObject({
        code: 'unsupported_postgres',
        message: expect.stringMatching(/^Expected the DateStyle ISO, got /),
      });
      expect(failureKind(error)).toBe('transient');
    },
  );

  it('ISO, DMY charges, and sums late clicks too', async () => {
    const { pool, ad } = await databaseWith('ISO, DMY');
    const batch = [0, 5].map((days) => clickRecord({ ad, clickedAt: Date.now() - days * DAY_MS }));
    expect(await chargeBatchTwice(pool, batch)).toEqual(['charged', 'charged']);
    await rollUp(pool);
    const { rows } = await pool.query('select sum(clicks)::int as clicks from click_rollup');
    expect(rows).toEqual([{ clicks: 2 }]);
    await expectBalanced(pool);
  });
});
