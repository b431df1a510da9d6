import { beforeAll, describe, expect, it } from 'vitest';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign, updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

let mine: Account;
let other: Account;
let uncapped: number;
beforeAll(async () => {
  mine = await addAccount(database.pool);
  other = await addAccount(database.pool);
  const campaign = await addCampaign(database.pool, mine.advertiser.id, 'Uncapped');
  uncapped = campaign.id;
  const ad = await addAdTo(database.pool, campaign);
  for (const account of [mine, other])
    await updateCampaign(database.pool, account.campaign.id, { dailyCapMicros: 300_000n });
  await chargeBatch(
    database.pool,
    [mine.ad, other.ad, ad].map((one) => clickRecord({ ad: one })),
  );
});

const idsOf = async (path: string, key?: string): Promise<number[]> => {
  const { body } = await api.send('GET', path, key === undefined ? {} : { key });
  return body.items.map(({ id }: { id: number }) => id);
};

describe('a campaign whose daily cap pays for no ad any more', () => {
  it('says until when, the end of the day of its advertiser', async () => {
    const { body } = await api.send('GET', `/v1/campaigns/${mine.campaign.id}`);
    const until = Date.parse(body.dailyCapReachedUntil);
    // The advertiser is in UTC.
    expect(until % 86_400_000).toBe(0);
    expect(until - Date.now()).toBeLessThanOrEqual(86_400_000);
    expect(body.hasActiveAd).toBe(true);
    expect((await api.send('GET', `/v1/campaigns/${uncapped}`)).body.dailyCapReachedUntil).toBeNull();
  });

  it('is exhausted only if the budget or the cap pays for no ad either', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.25' });
    const isExhausted = async () => (await api.send('GET', `/v1/campaigns/${campaign.id}`)).body.exhausted;
    await updateCampaign(database.pool, campaign.id, { dailyCapMicros: 300_000n });
    await chargeBatch(database.pool, [clickRecord({ ad })]);
    expect(await isExhausted()).toBe(false);
    // What is left of the cap of all clicks.
    await updateCampaign(database.pool, campaign.id, { capMicros: 400_000n });
    expect(await isExhausted()).toBe(true);
    await updateCampaign(database.pool, campaign.id, { capMicros: null });
    expect(await isExhausted()).toBe(false);
    // What is left of the budget.
    await addBudgetEntry(database.pool, advertiser.id, 'adjustment', -600_000n);
    expect(await isExhausted()).toBe(true);
    const { items } = (await api.send('GET', '/v1/campaigns?dailyCapReached=true')).body;
    const exhausted = items.filter((one: { exhausted: boolean }) => one.exhausted);
    expect(exhausted.map(({ id }: { id: number }) => id)).toEqual([campaign.id]);
    await addBudgetEntry(database.pool, advertiser.id, 'top_up', 5_000_000n);
    expect(await isExhausted()).toBe(false);
    // The daily cap of a whole day.
    await updateAd(database.pool, ad.id, { priceMicros: 310_000n });
    expect(await isExhausted()).toBe(true);
    await updateAd(database.pool, ad.id, { status: 'paused' });
    expect(await isExhausted()).toBe(false);
    expect((await api.send('GET', `/v1/campaigns/${campaign.id}`)).body.hasActiveAd).toBe(false);
    await updateCampaign(database.pool, campaign.id, { dailyCapMicros: null });
  });

  it('names the limit that is below the price of each active ad', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.25' });
    const dear = await addAdTo(database.pool, campaign, '0.60');
    const priceAbove = async (changes: object = {}) => {
      await updateCampaign(database.pool, campaign.id, changes);
      return (await api.send('GET', `/v1/campaigns/${campaign.id}`)).body.priceAbove;
    };
    expect(await priceAbove()).toBeNull();
    expect(await priceAbove({ dailyCapMicros: 250_000n })).toBeNull();
    expect(await priceAbove({ dailyCapMicros: 249_999n })).toBe('daily_cap');
    expect(await priceAbove({ capMicros: 249_999n })).toBe('cap');
    expect(await priceAbove({ capMicros: 400_000n, dailyCapMicros: null })).toBeNull();
    await chargeBatch(database.pool, [clickRecord({ ad })]);
    expect(await priceAbove()).toBe('cap_left');
    expect(await priceAbove({ capMicros: null })).toBeNull();
    await addBudgetEntry(database.pool, advertiser.id, 'adjustment', -600_000n);
    expect(await priceAbove()).toBe('budget_left');
    for (const { id } of [ad, dear]) await updateAd(database.pool, id, { status: 'paused' });
    expect(await priceAbove()).toBeNull();
  });

  it('is found by a filter, by a restricted key only if it may see it', async () => {
    const path = '/v1/campaigns?dailyCapReached=true';
    expect(await idsOf(path)).toEqual([mine.campaign.id, other.campaign.id]);
    const key = await api.addKey({ role: 'viewer', advertiserIds: [mine.advertiser.id] });
    expect(await idsOf(path, key)).toEqual([mine.campaign.id]);
  });

  it('is not reached any more when the daily cap is raised or removed', async () => {
    await updateCampaign(database.pool, other.campaign.id, { dailyCapMicros: 900_000n });
    expect(await idsOf('/v1/campaigns?dailyCapReached=true')).toEqual([mine.campaign.id]);
    await updateCampaign(database.pool, mine.campaign.id, { dailyCapMicros: null });
    expect(await idsOf('/v1/campaigns?dailyCapReached=true')).toEqual([]);
  });
});

describe('a list with ids', () => {
  it('has those alone that the key may see', async () => {
    const key = await api.addKey({ role: 'viewer', advertiserIds: [mine.advertiser.id] });
    for (const [kind, own, foreign] of [
      ['advertisers', mine.advertiser.id, other.advertiser.id],
      ['campaigns', mine.campaign.id, other.campaign.id],
      ['ads', mine.ad.id, other.ad.id],
    ] as const) {
      expect(await idsOf(`/v1/${kind}?ids=${foreign},${own},2000000000`), kind).toEqual([own, foreign]);
      expect(await idsOf(`/v1/${kind}?ids=${foreign},${own}`, key), kind).toEqual([own]);
    }
  });

  it.each([
    ['a text', '1,x', 'got "x"'],
    ['none', '', 'got ""'],
    ['501', Array.from({ length: 501 }, (_, index) => index + 1).join(), 'Expected at most 500 ids, got 501'],
  ])('refuses other ids: %s', async (_, ids, detail) => {
    const answer = await api.send('GET', `/v1/campaigns?ids=${ids}`);
    expect(answer).toMatchObject({
      status: 400,
      body: { errors: [{ detail: expect.stringContaining(detail) }] },
    });
  });
});
