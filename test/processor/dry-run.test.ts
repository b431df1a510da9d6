import { beforeEach, expect, it } from 'vitest';
import { DAY_MS } from '../../common/unix-time.ts';
import { dryRunCharge } from '../../processor/charge/dry-run.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { stepSystemClock } from '../support/clock-step.ts';
import { type AccountTerms, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

const OPTIONS = { clickAgeMaxDays: 14 };

/** Makes every update of a budget fail permanently, until it is repaired. */
async function refuseCharges({ pool }: TestDatabase): Promise<() => Promise<unknown>> {
  await pool.query(
    `create function refuse_charge() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
     create trigger refuse_charge before update of spent_micros on advertiser for each row execute function refuse_charge()`,
  );
  return () => pool.query('drop trigger refuse_charge on advertiser');
}

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase();
  return () => database.drop();
});

// The dry run takes the ad with the highest id.
it.each<[string, AccountTerms]>([
  ['with a budget', {}],
  ['without a budget', { budget: '0.00' }],
  ['whose budget does not pay for its ad', { budget: '0.10' }],
  ['whose cap does not pay for its ad', { cap: '0.10' }],
  ['whose daily cap does not pay for its ad', { dailyCap: '0.10' }],
])(
  'a dry run charges a click of an advertiser %s: it fails while no budget can be charged',
  async (_, terms) => {
    const { ad } = await addAccount(database.pool);
    await addAccount(database.pool, terms);
    const record = clickRecord({ ad });
    expect(await dryRunCharge(database.pool, record, OPTIONS)).toBe(true);
    const repair = await refuseCharges(database);
    expect(await dryRunCharge(database.pool, record, OPTIONS)).toBe(false);
    await repair();
    expect(await dryRunCharge(database.pool, record, OPTIONS)).toBe(true);
    await expectBalanced(database.pool);
  },
);

it.each([-20 * DAY_MS, 20 * DAY_MS])(
  'a dry run does not depend on the clock of the processor (%d ms off)',
  async (ms) => {
    const { ad } = await addAccount(database.pool);
    const record = clickRecord({ ad });
    stepSystemClock(ms);
    expect(await dryRunCharge(database.pool, record, OPTIONS)).toBe(true);
    await refuseCharges(database);
    expect(await dryRunCharge(database.pool, record, OPTIONS)).toBe(false);
  },
);

it('a dry run passes with a click that is over budget if no budget pays for any click', async () => {
  const { ad } = await addAccount(database.pool, { budget: '0.00' });
  expect(await dryRunCharge(database.pool, clickRecord({ ad }), OPTIONS)).toBe(true);
});

it('a dry run uses the advertiser of the record if no other has a budget, a cap and a daily cap that are left', async () => {
  const { ad } = await addAccount(database.pool);
  const spent = [{ budget: '0.25' }, { cap: '0.25' }, { dailyCap: '0.25' }];
  for (const terms of spent) {
    const { ad: other } = await addAccount(database.pool, terms);
    expect(await chargeBatch(database.pool, [clickRecord({ ad: other })])).toEqual(['charged']);
  }
  expect(await dryRunCharge(database.pool, clickRecord({ ad }), OPTIONS)).toBe(true);
  await refuseCharges(database);
  expect(await dryRunCharge(database.pool, clickRecord({ ad }), OPTIONS)).toBe(false);
});
