import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseAmount } from '../../../common/money.ts';
import { type Client, createClient } from '../../../common/postgres/postgres.ts';
import { addAd, updateAd } from '../../../ledger/accounts/ads.ts';
import { ADS_CHANGED_CHANNEL } from '../../../ledger/accounts/ads-changed.ts';
import { addAdvertiser, setAdvertiserStatus } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../../ledger/accounts/campaigns.ts';
import { chargeBatch, chargeBatchTwice, expectBalanced } from '../../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../../support/database.ts';
import { examples } from '../../support/examples.ts';
import { clickRecord, type NamedAd } from '../../support/records.ts';

const database = testDatabase();
let listener: Client;
let notifications: string[] = [];

beforeAll(async () => {
  listener = createClient(database.url, 'test listener');
  await listener.connect();
  listener.on('notification', ({ payload }) => notifications.push(payload ?? ''));
  await listener.query(`listen ${ADS_CHANGED_CHANNEL}`);
});
afterAll(() => listener.end());
beforeEach(() => takeNotifications());

/** Returns the notifications since the last call. They arrive in commit order, so it sends one more and waits for it. */
async function takeNotifications(): Promise<string[]> {
  await database.pool.query('select pg_notify($1, $2)', [ADS_CHANGED_CHANNEL, 'end']);
  await expect.poll(() => notifications.at(-1), { interval: 5 }).toBe('end');
  const all = notifications.filter((payload) => payload !== 'end');
  notifications = [];
  return all;
}

async function isBudgetExhausted(ad: NamedAd): Promise<boolean | undefined> {
  const { rows } = await database.pool.query<{ budgetExhausted: boolean }>(
    `select coalesce(exhausted_until > now(), false) as "budgetExhausted" from ad where id = $1`,
    [ad.id],
  );
  return rows[0]?.budgetExhausted;
}

const clicksOn = (ad: NamedAd, count: number) => Array.from({ length: count }, () => clickRecord({ ad }));

describe('the ad servers are notified', () => {
  it('once when a budget no longer pays for an ad, and not of the charges before and after', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.30' });
    const cheap = await addAdTo(database.pool, campaign, '0.05');
    await takeNotifications();
    await chargeBatchTwice(database.pool, clicksOn(ad, 2));
    expect(await takeNotifications()).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await takeNotifications()).toEqual([String(advertiser.id)]);
    expect([await isBudgetExhausted(ad), await isBudgetExhausted(cheap)]).toEqual([true, false]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 3));
    expect(await takeNotifications()).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(cheap, 2));
    expect(await takeNotifications()).toEqual([String(advertiser.id)]);
    expect(await isBudgetExhausted(cheap)).toBe(true);
  });

  it('of a top-up that clears the budget-exhausted flag, and not of other top-ups', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '0.20', price: '0.30' });
    expect(await isBudgetExhausted(ad)).toBe(true);
    const topUp = (amount: string) =>
      addBudgetEntry(database.pool, advertiser.id, 'top_up', parseAmount(amount));
    await takeNotifications();
    await topUp('0.09');
    expect(await takeNotifications()).toEqual([]);
    await topUp('0.01');
    expect(await takeNotifications()).toEqual([String(advertiser.id)]);
    expect(await isBudgetExhausted(ad)).toBe(false);
    await topUp('5.00');
    expect(await takeNotifications()).toEqual([]);
    expect(await chargeBatchTwice(database.pool, clicksOn(ad, 1))).toEqual(['charged']);
  });

  it('of an adjustment that exhausts the budget', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.30' });
    await takeNotifications();
    await addBudgetEntry(database.pool, advertiser.id, 'adjustment', parseAmount('-0.80'));
    expect(await takeNotifications()).toEqual([String(advertiser.id)]);
    expect(await isBudgetExhausted(ad)).toBe(true);
  });

  it('of an exhausted cap, while another campaign of the advertiser continues', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { cap: '0.50', price: '0.30' });
    const free = await addCampaign(database.pool, advertiser.id, 'free');
    const other = await addAdTo(database.pool, free, '0.30');
    await takeNotifications();
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await takeNotifications()).toEqual([String(advertiser.id)]);
    expect([await isBudgetExhausted(ad), await isBudgetExhausted(other)]).toEqual([true, false]);
    await chargeBatchTwice(database.pool, [...clicksOn(ad, 2), ...clicksOn(other, 1)]);
    expect(await takeNotifications()).toEqual([]);
  });

  it('of a price change that sets or clears the budget-exhausted flag', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.30' });
    await takeNotifications();
    await updateAd(database.pool, ad.id, { priceMicros: parseAmount('1.01') });
    expect([await takeNotifications(), await isBudgetExhausted(ad)]).toEqual([[String(advertiser.id)], true]);
    await updateAd(database.pool, ad.id, { priceMicros: parseAmount('1.00') });
    expect([await takeNotifications(), await isBudgetExhausted(ad)]).toEqual([
      [String(advertiser.id)],
      false,
    ]);
  });

  it('of a paused and resumed advertiser, a paused ad and a new ad', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    await takeNotifications();
    for (const change of [
      () => setAdvertiserStatus(database.pool, advertiser.id, 'paused'),
      () => setAdvertiserStatus(database.pool, advertiser.id, 'active'),
      () => updateAd(database.pool, ad.id, { status: 'paused' }),
      () => addAdTo(database.pool, campaign),
    ]) {
      await change();
      expect(await takeNotifications()).toEqual([String(advertiser.id)]);
    }
  });

  it('of nothing when a transaction that set a budget-exhausted flag is rolled back', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.30' });
    await takeNotifications();
    const tooMuch = addBudgetEntry(database.pool, advertiser.id, 'adjustment', parseAmount('-1.01'));
    await expect(tooMuch).rejects.toMatchObject({ code: 'not_enough_budget' });
    expect([await takeNotifications(), await isBudgetExhausted(ad)]).toEqual([[], false]);
  });
});

it('The flag is set on exactly the ads that cost more than the remaining budget or cap, after any changes', async () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('click' as const),
        ad: fc.nat(3),
        count: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('price' as const),
        ad: fc.nat(3),
        price: fc.integer({ min: 1, max: 60 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('budget' as const), amount: fc.integer({ min: 1, max: 80 }) }),
    },
  );
  const story = fc.array(step, { minLength: 5, maxLength: 15 });
  await fc.assert(
    fc.asyncProperty(story, async (steps) => {
      const { id } = await addAdvertiser(database.pool, 'property', 'USD');
      const ads: NamedAd[] = [];
      for (const cap of [null, 90n]) {
        const campaign = await addCampaign(database.pool, id, 'property', { capMicros: cap });
        for (const price of [7n, 30n])
          ads.push(await addAd(database.pool, campaign.id, price, 'https://a.example/'));
      }
      for (const one of steps) {
        if (one.do === 'budget') await addBudgetEntry(database.pool, id, 'top_up', BigInt(one.amount));
        else {
          const ad = ads[one.ad];
          if (!ad) throw new Error('Expected an ad');
          if (one.do === 'click') await chargeBatch(database.pool, clicksOn(ad, one.count));
          else ads[one.ad] = await updateAd(database.pool, ad.id, { priceMicros: BigInt(one.price) });
        }
        const { rows } = await database.pool.query(
          `select ad.id, exhausted_until is not null as "budgetExhausted", price_micros > advertiser.remaining_micros or
             coalesce(price_micros > cap_micros - campaign.spent_micros, false) as due
           from ad join campaign on campaign.id = campaign_id join advertiser on advertiser.id = ad.advertiser_id
           where ad.advertiser_id = $1`,
          [id],
        );
        expect(rows.filter((row) => row.budgetExhausted !== row.due)).toEqual([]);
      }
    }),
    { numRuns: examples(12) },
  );
  await expectBalanced(database.pool);
});
