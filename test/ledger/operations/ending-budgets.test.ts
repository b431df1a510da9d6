import { describe, expect, it } from 'vitest';
import { setAdvertiserStatus } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../../ledger/accounts/budget-entries.ts';
import { readEndingBudgets } from '../../../ledger/operations/ending-budgets.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord } from '../../support/records.ts';

const QUARTER_MS = 900_000;
const database = testDatabase();

/** Charges a number of clicks, of one unit each by default, on a new advertiser with a budget of 100 units. */
async function spend(clicks: number, clickedAt = Date.now(), price = '1.00') {
  const { advertiser, ad } = await addAccount(database.pool, { budget: '100.00', price });
  const records = Array.from({ length: clicks }, () => clickRecord({ ad, clickedAt }));
  await chargeBatch(database.pool, records);
  await rollUp(database.pool);
  return advertiser.id;
}
const endingOf = async (id: number) =>
  (await readEndingBudgets(database.pool)).find(({ advertiserId }) => advertiserId === id);

describe('a budget that ends', () => {
  it('lasts as long as it does at the rate of this and the last quarter of an hour', async () => {
    const id = await spend(40);
    const seconds = (Date.now() - (Math.floor(Date.now() / QUARTER_MS) - 1) * QUARTER_MS) / 1_000;
    const budget = await endingOf(id);
    expect(budget).toMatchObject({ remainingMicros: 60_000_000n, isNearlyGone: false });
    // 60 units at 40 units in `seconds`. A quarter can begin between the two readings of the clock.
    const expected = (60 / 40) * seconds;
    expect(budget?.secondsLeft).toBeGreaterThan(expected - 60);
    expect(budget?.secondsLeft).toBeLessThan(expected + 60);
  });

  it('is not named if it lasts longer than an hour, or was charged earlier', async () => {
    expect(await endingOf(await spend(10))).toBeUndefined();
    expect(await endingOf(await spend(40, Date.now() - 3 * QUARTER_MS))).toBeUndefined();
  });

  it('is nearly gone below 5 %, and has no time left to name once it is exhausted', async () => {
    const id = await spend(96);
    expect(await endingOf(id)).toMatchObject({ isNearlyGone: true, secondsLeft: expect.any(Number) });
    const gone = await spend(100);
    expect(await endingOf(gone)).toMatchObject({ isNearlyGone: true, isExhausted: true, secondsLeft: null });
  });

  it('is nearly gone if what is left pays for no ad, also if it is a tenth', async () => {
    const id = await spend(3, Date.now(), '30.00');
    expect(await endingOf(id)).toMatchObject({
      ...{ remainingMicros: 10_000_000n, isNearlyGone: true, isExhausted: true, secondsLeft: null },
    });
  });

  it('is not named once it was paid for or its advertiser is paused', async () => {
    const id = await spend(90);
    expect(await endingOf(id)).toMatchObject({ isNearlyGone: false, secondsLeft: expect.any(Number) });
    await addBudgetEntry(database.pool, id, 'top_up', 1_000_000_000n);
    expect(await endingOf(id)).toBeUndefined();
    const other = await spend(90);
    await setAdvertiserStatus(database.pool, other, 'paused');
    expect(await endingOf(other)).toBeUndefined();
  });

  it('comes first if it has the least time left', async () => {
    await spend(50);
    await spend(80);
    const seconds = (await readEndingBudgets(database.pool)).flatMap(({ secondsLeft }) => secondsLeft ?? []);
    expect(seconds.length).toBeGreaterThan(2);
    expect(seconds).toEqual(seconds.toSorted((a, b) => a - b));
  });
});
