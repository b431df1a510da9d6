import { describe, expect, it } from 'vitest';
import type { Pool } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { updateAd } from '../../../ledger/accounts/ads.ts';
import { clickToChargeSeconds, readLatestClicks } from '../../../ledger/live/latest-clicks.ts';
import { isoDay } from '../../../ledger/partitions.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase, testDatabase } from '../../support/database.ts';
import { clickRecord, unreadableRecord } from '../../support/records.ts';

const database = testDatabase();

describe('the latest clicks', () => {
  it('are at most 20, the newest first, with what was charged and without their visitors', async () => {
    const { ad, advertiser } = await addAccount(database.pool);
    await updateAd(database.pool, ad.id, { name: 'Banner' });
    const now = Date.now();
    const batch = Array.from({ length: 25 }, (_, at) =>
      clickRecord({ ad, clickedAt: now - at * 1_000, ...(at === 1 && { invalid: 'bot' }) }),
    );
    await chargeBatch(database.pool, batch);
    const found = await readLatestClicks(database.pool, null, new Date(now));
    expect(found.map(({ clickId }) => clickId)).toEqual(batch.slice(0, 20).map(({ click }) => click.clickId));
    expect(found[0]).toEqual({
      clickId: batch[0]?.click.clickId,
      clickedAt: new Date(now),
      settledAt: expect.any(Date),
      outcome: 'charged',
      reason: null,
      adId: ad.id,
      adName: 'Banner',
      advertiserName: advertiser.name,
      publisher: null,
      chargedMicros: 250_000n,
      currency: 'USD',
    });
    expect(found[1]).toMatchObject({ outcome: 'invalid', reason: 'bot', chargedMicros: 0n });
  });

  it('have rejected clicks, but not for some advertisers', async () => {
    const { ad, advertiser } = await addAccount(database.pool);
    const rejected = clickRecord({ ad: { ...ad, id: ad.id + 900 }, clickedAt: Date.now() + 100 });
    await chargeBatch(database.pool, [rejected, unreadableRecord(Buffer.from('x'))]);
    const [first] = await readLatestClicks(database.pool, null, new Date());
    expect(first).toMatchObject({
      clickId: rejected.click.clickId,
      outcome: 'rejected',
      reason: 'unknown_ad',
      adName: null,
      advertiserName: null,
    });
    expect(await readLatestClicks(database.pool, [advertiser.id], new Date())).toEqual([]);
  });

  it('of some advertisers are theirs alone', async () => {
    const [mine, other] = [await addAccount(database.pool), await addAccount(database.pool)];
    const batch = [mine, other, mine].map(({ ad }) => clickRecord({ ad }));
    await chargeBatch(database.pool, batch);
    const found = await readLatestClicks(database.pool, [mine.advertiser.id], new Date());
    expect(found.map(({ adId }) => adId)).toEqual([mine.ad.id, mine.ad.id]);
  });

  it('do not have clicks of an ad server whose clock is days ahead', async () => {
    const { ad } = await addAccount(database.pool);
    const ahead = clickRecord({ ad, clickedAt: Date.now() + 2 * 86_400_000 });
    const present = clickRecord({ ad, clickedAt: Date.now() + 1_000 });
    expect(await chargeBatch(database.pool, [ahead, present])).toEqual(['charged', 'charged']);
    const [first] = await readLatestClicks(database.pool, null, new Date());
    expect(first?.clickId).toBe(present.click.clickId);
  });

  it('are read from the end of the primary keys of two days', async () => {
    const made = await createTestDatabase();
    try {
      await made.pool.query(
        `insert into advertiser (name, currency) select 'Advertiser', 'USD' from generate_series(1, 10)`,
      );
      await made.pool.query(INSERT_OF_THREE_DAYS);
      // The planner has statistics, as in a ledger that grows.
      await made.pool.query('analyze ledger');
      const plans = { all: await planOf(made.pool, null), own: await planOf(made.pool, [77]) };
      for (const plan of Object.values(plans)) {
        const scans = [...plan.matchAll(/(\w+ Scan(?: Backward)?).* on (ledger_\d+)/g)];
        expect(scans.map(([, scan]) => scan)).toEqual(scans.map(() => 'Index Scan Backward'));
        expect(scans.length).toBeLessThanOrEqual(2 + 8);
        expect(plan).not.toContain(`ledger_${isoDay(Date.now() - 2 * DAY_MS).replaceAll('-', '')}`);
      }
      // The scan ends after the rows that it needs: without a click of advertiser 77, after 10 000.
      expect(plans.all).toMatch(/Limit .*actual rows=20\b/);
      expect(plans.own).toMatch(/Limit .*actual rows=10000\b/);
    } finally {
      await made.drop();
    }
  });
});

/** A click each 10 s of the last three days, of ten advertisers in turn, and 20 000 of the last hour. */
const INSERT_OF_THREE_DAYS = `
  insert into ledger (click_id, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome, reason)
  select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7000' || '8' || lpad(to_hex(number), 15, '0'))::uuid,
    at, 0, number % 10 + 1, 1, 1, 'invalid', 'bot'
  from (
    select now() - make_interval(secs => 10 * number) as at, number::integer as number from generate_series(1, 17000) number
    union all select now() - make_interval(secs => 0.18 * number), 20000 + number::integer from generate_series(1, 20000) number
  ) clicks where at > current_date - 2`;

/** The plan with which the latest clicks are read, as it was run. */
async function planOf(pool: Pool, advertiserIds: readonly number[] | null): Promise<string> {
  let plan = '';
  const explaining = {
    query: async (text: string, values: unknown[]) => {
      if (text.includes('dead_letter')) return { rows: [] };
      const { rows } = await pool.query<{ 'QUERY PLAN': string }>(
        `explain (analyze, timing off, summary off) ${text}`,
        values,
      );
      plan = rows.map((row) => row['QUERY PLAN']).join('\n');
      return { rows: [] };
    },
  };
  await readLatestClicks(explaining as unknown as Pool, advertiserIds, new Date());
  return plan;
}

describe('the time from a click to its charge', () => {
  const click = (secondsAgo: number, delay: number) => ({
    clickId: String(secondsAgo),
    clickedAt: new Date(1e12 - (secondsAgo + delay) * 1_000),
    settledAt: new Date(1e12 - secondsAgo * 1_000),
    outcome: 'charged' as const,
    ...{
      reason: null,
      adId: 1,
      adName: null,
      advertiserName: '',
      publisher: null,
      chargedMicros: 1n,
      currency: 'USD',
    },
  });

  it('is the median of the clicks that were settled in the last minute', () => {
    const clicks = [click(1, 0.2), click(2, 9), click(3, 0.4), click(300, 99)];
    expect(clickToChargeSeconds(clicks, new Date(1e12))).toBeCloseTo(0.4);
    expect(clickToChargeSeconds([click(300, 99)], new Date(1e12))).toBeNull();
  });

  it('is 0 if the clock of the ad server is ahead', () => {
    expect(clickToChargeSeconds([click(1, -5)], new Date(1e12))).toBe(0);
  });
});
