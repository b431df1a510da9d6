import { beforeAll, describe, expect, it } from 'vitest';
import { updateAd } from '../../../ledger/accounts/ads.ts';
import { readLiveSums, sumsSince } from '../../../ledger/live/sums.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord, unreadableRecord } from '../../support/records.ts';

const database = testDatabase();
let mine: Account;
let other: Account;

beforeAll(async () => {
  mine = await addAccount(database.pool, { budget: '0.75' });
  other = await addAccount(database.pool, { price: '2.00' });
  const old = Date.now() - 3 * 3_600_000;
  await chargeBatch(database.pool, [
    ...['news', 'news', 'blog', 'blog'].map((publisher) => clickRecord({ ad: mine.ad, publisher })),
    clickRecord({ ad: mine.ad, invalid: 'bot' }),
    clickRecord({ ad: other.ad, invalid: 'bot' }),
    clickRecord({ ad: other.ad, publisher: 'news' }),
    clickRecord({ ad: other.ad, clickedAt: old }),
    clickRecord({ ad: { ...other.ad, id: other.ad.id + 900 } }),
    unreadableRecord(Buffer.from('x'), null),
  ]);
  await rollUp(database.pool);
  await updateAd(database.pool, mine.ad.id, { name: 'Banner' });
});

it('The sums begin with a quarter of an hour, at least an hour ago', () => {
  expect(sumsSince(new Date('2026-05-01T10:00:00Z'))).toEqual(new Date('2026-05-01T09:00:00Z'));
  expect(sumsSince(new Date('2026-05-01T10:14:59Z'))).toEqual(new Date('2026-05-01T09:00:00Z'));
});

describe('the sums of the last hour', () => {
  it('have reasons, ads and publishers of all advertisers, and rejected clicks', async () => {
    const { reasons, ads, publishers } = await readLiveSums(database.pool, null, new Date());
    expect(reasons).toEqual([
      { outcome: 'invalid', reason: 'bot', clicks: 2 },
      { outcome: 'over_budget', reason: 'budget', clicks: 1 },
      { outcome: 'rejected', reason: 'unknown_ad', clicks: 1 },
    ]);
    expect(ads).toEqual([
      {
        adId: mine.ad.id,
        adName: 'Banner',
        advertiserId: mine.advertiser.id,
        advertiserName: 'Test advertiser',
        campaignName: 'Test campaign',
        clicks: 5,
        chargedMicros: 750_000n,
        currency: 'USD',
      },
      expect.objectContaining({ adId: other.ad.id, adName: null, clicks: 2, chargedMicros: 2_000_000n }),
    ]);
    expect(publishers.map(({ publisher, clicks, currency }) => [publisher, clicks, currency])).toEqual([
      ['news', 3, 'USD'],
      [null, 2, 'USD'],
      ['blog', 2, 'USD'],
    ]);
  });

  it('of some advertisers have nothing of others, and no rejected clicks', async () => {
    const { reasons, ads, publishers } = await readLiveSums(database.pool, [mine.advertiser.id], new Date());
    expect(reasons.map(({ outcome, clicks }) => [outcome, clicks]).sort()).toEqual([
      ['invalid', 1],
      ['over_budget', 1],
    ]);
    expect(ads.map(({ adId }) => adId)).toEqual([mine.ad.id]);
    expect(publishers.map(({ publisher, clicks }) => [publisher, clicks])).toEqual([
      ['blog', 2],
      ['news', 2],
      [null, 1],
    ]);
  });

  it('list at most ten ads and publishers', async () => {
    const batch = Array.from({ length: 12 }, (_, at) =>
      Array.from({ length: at + 4 }, () => clickRecord({ ad: other.ad, publisher: `p${at}` })),
    );
    await chargeBatch(database.pool, batch.flat());
    await rollUp(database.pool);
    const { publishers } = await readLiveSums(database.pool, null, new Date());
    expect(publishers.map(({ publisher }) => publisher)).toEqual(
      Array.from({ length: 10 }, (_, at) => `p${11 - at}`),
    );
  });
});
