import { afterEach, describe, expect, it } from 'vitest';
import { DAY_MS } from '../../../common/unix-time.ts';
import { addAd } from '../../../ledger/accounts/ads.ts';
import { addBudgetEntry } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../../ledger/accounts/campaigns.ts';
import { reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch, chargeBatchTwice, expectBalanced } from '../../support/charge-batch.ts';
import { type Account, addAccount, addAdTo, capDaily, testDatabase } from '../../support/database.ts';
import { clickRecord, type NamedAd } from '../../support/records.ts';

const database = testDatabase();

afterEach(async () => {
  await expectBalanced(database.pool);
});

const charge = (ad: NamedAd, count: number, clickedAt = Date.now()) =>
  chargeBatchTwice(
    database.pool,
    Array.from({ length: count }, () => clickRecord({ ad, clickedAt })),
  );

function countByOutcome(outcomes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

async function exhaustedUntil({ id }: NamedAd): Promise<string | null> {
  const { rows } = await database.pool.query<{ until: string | null }>(
    'select exhausted_until::text as until from ad where id = $1',
    [id],
  );
  return rows[0]?.until ?? null;
}

/** The end of the present day of an account's time zone, as PostgreSQL prints it. */
async function endOfDay({ advertiser }: Account): Promise<string> {
  const { rows } = await database.pool.query<{ until: string }>(
    `select day_start((now() at time zone time_zone)::date + 1, time_zone)::text as until from advertiser where id = $1`,
    [advertiser.id],
  );
  return rows[0]?.until ?? '';
}

describe('a daily cap that is set on a campaign without one', () => {
  it.each([['before'], ['after']])(
    'counts what the day has spent, %s the rollup has added it',
    async (when) => {
      const { campaign, ad } = await addAccount(database.pool, { price: '0.25' });
      await charge(ad, 3);
      await charge(ad, 2, Date.now() - DAY_MS);
      if (when === 'after') await rollUp(database.pool);
      await charge(ad, 1);
      await expect(capDaily(database.pool, campaign, '0.99')).rejects.toMatchObject({
        code: 'cap_below_spent',
        message: expect.stringMatching(
          /^Expected a daily cap of at least 1\.00 USD, which campaign \d+ has spent on \d{4}-\d\d-\d\d, got 0\.99$/,
        ),
      });
      await capDaily(database.pool, campaign, '1.25');
      expect(countByOutcome(await charge(ad, 3))).toEqual({ charged: 1, 'over_budget: daily_cap': 2 });
    },
  );

  it('can be removed, and set again: the day counts what was spent without it', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.25', dailyCap: '0.25' });
    expect(countByOutcome(await charge(ad, 2))).toEqual({ charged: 1, 'over_budget: daily_cap': 1 });
    await capDaily(database.pool, campaign, null);
    expect(await exhaustedUntil(ad)).toBeNull();
    expect(countByOutcome(await charge(ad, 3))).toEqual({ charged: 3 });
    await expectBalanced(database.pool);
    await expect(capDaily(database.pool, campaign, '0.99')).rejects.toMatchObject({
      code: 'cap_below_spent',
    });
    await capDaily(database.pool, campaign, '1.25');
    expect(countByOutcome(await charge(ad, 3))).toEqual({ charged: 1, 'over_budget: daily_cap': 2 });
  });
});

describe('a daily cap that is changed', () => {
  it('can be raised and lowered, not below what the day has spent', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.25', dailyCap: '0.50' });
    expect(countByOutcome(await charge(ad, 3))).toEqual({ charged: 2, 'over_budget: daily_cap': 1 });
    await expect(capDaily(database.pool, campaign, '0.49')).rejects.toMatchObject({
      code: 'cap_below_spent',
    });
    await capDaily(database.pool, campaign, '0.75');
    expect(countByOutcome(await charge(ad, 3))).toEqual({ charged: 1, 'over_budget: daily_cap': 2 });
    await capDaily(database.pool, campaign, '5.00');
    await capDaily(database.pool, campaign, '0.75');
    expect(countByOutcome(await charge(ad, 1))).toEqual({ 'over_budget: daily_cap': 1 });
  });

  it('leaves past days the cap that they had, whether or not they have spent', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.25', dailyCap: '0.50' });
    await database.pool.query('update campaign set daily_cap_since = current_date - 5 where id = $1', [
      campaign.id,
    ]);
    const [yesterday, before] = [Date.now() - DAY_MS, Date.now() - 2 * DAY_MS];
    expect(countByOutcome(await charge(ad, 3, yesterday))).toEqual({
      charged: 2,
      'over_budget: daily_cap': 1,
    });
    await capDaily(database.pool, campaign, '9.00');
    await capDaily(database.pool, campaign, '0.25');
    expect(countByOutcome(await charge(ad, 1, yesterday))).toEqual({ 'over_budget: daily_cap': 1 });
    expect(countByOutcome(await charge(ad, 3, before))).toEqual({ charged: 2, 'over_budget: daily_cap': 1 });
    await capDaily(database.pool, campaign, null);
    expect(countByOutcome(await charge(ad, 1, before))).toEqual({ 'over_budget: daily_cap': 1 });
    expect(countByOutcome(await charge(ad, 2))).toEqual({ charged: 2 });
  });
});

describe('an ad', () => {
  it('is exhausted until the end of the day if its price exceeds the rest of the daily cap', async () => {
    const account = await addAccount(database.pool, {
      price: '0.25',
      dailyCap: '0.60',
      timeZone: 'America/New_York',
    });
    const cheap = await addAdTo(database.pool, account.campaign, '0.10');
    await charge(account.ad, 1);
    expect(await exhaustedUntil(account.ad)).toBeNull();
    await charge(account.ad, 1);
    expect([await exhaustedUntil(account.ad), await exhaustedUntil(cheap)]).toEqual([
      await endOfDay(account),
      null,
    ]);
    await charge(cheap, 1);
    expect(await exhaustedUntil(cheap)).toBe(await endOfDay(account));
    await capDaily(database.pool, account.campaign, '0.70');
    expect([await exhaustedUntil(account.ad), await exhaustedUntil(cheap)]).toEqual([
      await endOfDay(account),
      null,
    ]);
  });

  it('is exhausted without an end if its price exceeds the cap of a whole day, or what is left of the budget', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, {
      budget: '1.00',
      price: '0.25',
      dailyCap: '0.60',
    });
    const expensive = await addAdTo(database.pool, campaign, '0.61');
    expect(await exhaustedUntil(expensive)).toBe('infinity');
    await charge(ad, 2);
    await addBudgetEntry(database.pool, advertiser.id, 'adjustment', -400_000n);
    expect(await exhaustedUntil(ad)).toBe('infinity');
  });

  it('of another campaign, without a daily cap, is not exhausted', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { price: '0.25', dailyCap: '0.25' });
    const other = await addCampaign(database.pool, advertiser.id, 'other');
    const otherAd = await addAd(database.pool, other.id, 250_000n, 'https://a.example/');
    await charge(ad, 1);
    expect(await exhaustedUntil(otherAd)).toBeNull();
  });
});

describe('reconcile', () => {
  it.each([[false], [true]])(
    'compares what days have spent with the ledger (rolled up: %s)',
    async (isRolledUp) => {
      const { campaign, ad } = await addAccount(database.pool, { price: '0.25', dailyCap: '5.00' });
      await chargeBatch(database.pool, [clickRecord({ ad }), clickRecord({ ad })]);
      if (isRolledUp) await rollUp(database.pool);
      const problems = async () => (await reconcile(database.pool, { brokers: [] })).problems;
      expect(await problems()).toEqual([]);
      const change = (statement: string) =>
        database.pool.query(`${statement} where campaign_id = $1`, [campaign.id]);
      await change('update campaign_day set spent_micros = spent_micros + 1');
      expect(await problems()).toEqual([
        expect.stringMatching(
          new RegExp(
            `^spent by campaign ${campaign.id} \\(Test campaign\\) on [\\d-]+: stored 500001 micros, the ledger has 500000 micros$`,
          ),
        ),
      ]);
      await change('update campaign_day set spent_micros = spent_micros - 1');
      const { rows } = await database.pool.query(
        'select day::text, cap_micros, spent_micros from campaign_day where campaign_id = $1',
        [campaign.id],
      );
      await change('delete from campaign_day');
      expect(await problems()).toEqual([
        expect.stringContaining('stored 0 micros, the ledger has 500000 micros'),
      ]);
      await database.pool.query(
        'insert into campaign_day (campaign_id, day, cap_micros, spent_micros) values ($1, $2, $3, $4)',
        [campaign.id, rows[0].day, rows[0].cap_micros, rows[0].spent_micros],
      );
    },
  );
});

it('a day begins at its first instant in every time zone, and the days leave no gap', async () => {
  const { rows } = await database.pool.query(
    `select name, day::date::text from pg_timezone_names
     cross join generate_series(date '2026-01-01', date '2026-12-31', '1 day') day
     cross join lateral (select day_start(day::date, name) as begins_at) start
     where name ~ '^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$' and name !~ '^(posix|right)/'
       and ((begins_at at time zone name)::date <> day::date
         or ((begins_at - interval '1 microsecond') at time zone name)::date <> day::date - 1)
     limit 5`,
  );
  expect(rows).toEqual([]);
});
