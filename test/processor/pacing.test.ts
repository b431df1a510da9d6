import fc from 'fast-check';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { CampaignChanges } from '../../ledger/accounts/campaign-settings.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { type CatalogAd, isExhausted, readCatalogAd } from '../../ledger/accounts/catalog-ads.ts';
import { type Plan, plannedMicros } from '../../ledger/accounts/pacing.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { collectGauges } from '../../processor/collect-gauges.ts';
import type { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord, type NamedAd } from '../support/records.ts';

const database = testDatabase();
const OPTIONS = { clickAgeMaxDays: 14 };
const HOUR_MS = 3_600_000;

afterEach(async () => {
  await expectBalanced(database.pool);
});

/** A time zone in which it is about noon. The sign of its name is opposite to that of its offset. */
function noonZone(): string {
  const ahead = 12 - new Date().getUTCHours();
  return `Etc/GMT${ahead > 0 ? '-' : '+'}${Math.abs(ahead)}`;
}

const change = ({ campaign }: Account, changes: CampaignChanges) =>
  updateCampaign(database.pool, campaign.id, changes);

/** An account at its noon, with pacing and a fallback URL. */
async function pacedAccount(changes: CampaignChanges, dailyCap = '86400.00'): Promise<Account> {
  const account = await addAccount(database.pool, {
    budget: '1000000.00',
    price: '0.25',
    dailyCap,
    timeZone: noonZone(),
  });
  await change(account, { fallbackUrl: 'https://fallback.example/', ...changes });
  return account;
}

async function catalogAd({ id }: NamedAd): Promise<CatalogAd> {
  const ad = await readCatalogAd(database.pool, id);
  if (ad === undefined) throw new Error('Expected the ad');
  return ad;
}

async function planOf(ad: NamedAd): Promise<Plan> {
  const { pace } = await catalogAd(ad);
  if (pace === null) throw new Error('Expected a plan');
  return pace;
}

/** Charges one click that costs `micros`. */
const spend = (ad: NamedAd, micros: number) =>
  chargeBatchTwice(database.pool, [clickRecord({ ad, priceMicros: Math.floor(micros) })]);

describe('the plan of a campaign', () => {
  it('is absent without pacing', async () => {
    const { ad } = await addAccount(database.pool, { dailyCap: '5.00' });
    expect(await catalogAd(ad)).toMatchObject({ pace: null, held: false, exhaustedUntil: null });
  });

  it('even: is one line over the day, and the campaign is ahead until the line reaches what is spent', async () => {
    const { ad } = await pacedAccount({ pacing: 'even' });
    const start = await planOf(ad);
    expect(start).toMatchObject({
      fromMicros: 0,
      spentMicros: 0,
      aheadUntil: null,
      capMicros: 86_400_000_000,
    });
    expect(start.to - start.from).toBe(86_400_000);
    const planned = plannedMicros(start, Date.now());
    expect(planned / start.capMicros).toBeGreaterThan(0.49);
    expect(planned / start.capMicros).toBeLessThan(0.56);
    await spend(ad, planned / 2);
    expect(await planOf(ad)).toMatchObject({ aheadUntil: null });
    await spend(ad, planned / 2 + 600_000_000);
    const ahead = await planOf(ad);
    expect(ahead.aheadUntil).not.toBeNull();
    // The line rises by 1.00 a second.
    expect(plannedMicros(ahead, ahead.aheadUntil ?? 0)).toBeCloseTo(ahead.spentMicros, -4);
  });

  it('even: is one line over the part of the day between the start and the end of the campaign', async () => {
    const account = await pacedAccount({ pacing: 'even' });
    const { from, to } = await planOf(account.ad);
    const [startsAt, endsAt] = [new Date(from + HOUR_MS), new Date(to - 2 * HOUR_MS)];
    await change(account, { startsAt, endsAt });
    expect(await planOf(account.ad)).toMatchObject({ from: startsAt.getTime(), to: endsAt.getTime() });
    await change(account, { startsAt: new Date(from - HOUR_MS), endsAt: new Date(to + HOUR_MS) });
    expect(await planOf(account.ad)).toMatchObject({ from, to });
    // A campaign that has ended has nothing left to plan.
    await change(account, { startsAt: null, endsAt: new Date(from - HOUR_MS) });
    expect(await planOf(account.ad)).toMatchObject({ from, to: from });
  });

  it('rest: starts again at each hour from what is spent then', async () => {
    const { ad, campaign } = await pacedAccount({ pacing: 'rest' });
    await spend(ad, 20_000_000_000);
    const thisHour = await planOf(ad);
    expect(thisHour).toMatchObject({ fromMicros: 0, spentMicros: 20_000_000_000 });
    expect(thisHour.from % 3_600_000).toBe(0);
    expect(thisHour.aheadUntil).toBe(thisHour.from + 3_600_000);
    // As if the charge had been an hour ago.
    await database.pool.query(
      "update campaign_day set charged_hour = charged_hour - interval '1 hour' where campaign_id = $1",
      [campaign.id],
    );
    const nextHour = { ...thisHour, fromMicros: 20_000_000_000, aheadUntil: null };
    expect(await planOf(ad)).toEqual(nextHour);
    await spend(ad, 10_000_000_000);
    expect(await planOf(ad)).toMatchObject({
      ...nextHour,
      spentMicros: 30_000_000_000,
      aheadUntil: expect.anything(),
    });
  });

  it('rest: does not start again for a charge whose transaction began in the hour before', async () => {
    const { campaign, ad } = await pacedAccount({ pacing: 'rest' });
    await spend(ad, 1_000_000);
    // Another transaction has charged in the next hour meanwhile, and has committed first.
    await database.pool.query(
      `update campaign_day set charged_hour = charged_hour + interval '1 hour', spent_before_hour_micros = spent_micros
       where campaign_id = $1`,
      [campaign.id],
    );
    const hour = 'select charged_hour, spent_before_hour_micros from campaign_day where campaign_id = $1';
    const { rows: before } = await database.pool.query(hour, [campaign.id]);
    await spend(ad, 500_000);
    expect((await database.pool.query(hour, [campaign.id])).rows).toEqual(before);
  });

  it('is ahead until PostgreSQL’s line and that of readers reach what is spent, whatever was spent and planned', async () => {
    const { ad, campaign } = await pacedAccount({ pacing: 'even' });
    const change = (spent: number, pacing: string, before: number) =>
      database.pool.query(
        `with day as (
           insert into campaign_day (campaign_id, day, cap_micros, spent_micros, charged_hour, spent_before_hour_micros)
           select campaign_id, day, cap_micros, $2, date_trunc('hour', now(), 'UTC'), $4 from campaign_today where campaign_id = $1
           on conflict (campaign_id, day) do update set
             spent_micros = excluded.spent_micros, spent_before_hour_micros = excluded.spent_before_hour_micros
         )
         update campaign set pacing = $3 where id = $1`,
        [campaign.id, spent, pacing, before],
      );
    const capMicros = 86_400_000_000;
    const drawn = fc.record({
      spent: fc.integer({ min: 0, max: capMicros }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      pacing: fc.constantFrom('even', 'rest'),
    });
    await fc.assert(
      fc.asyncProperty(drawn, async ({ spent, share, pacing }) => {
        await change(spent, pacing, Math.floor(spent * share));
        const plan = await planOf(ad);
        expect(plan.fromMicros).toBe(pacing === 'even' ? 0 : Math.floor(spent * share));
        const { aheadUntil, from } = plan;
        if (aheadUntil === null) expect(plannedMicros(plan, Date.now())).toBeGreaterThanOrEqual(spent);
        else if (pacing === 'rest' && aheadUntil === from + HOUR_MS)
          expect(plannedMicros(plan, aheadUntil)).toBeLessThanOrEqual(spent);
        else {
          // `aheadUntil` is rounded up to the millisecond.
          expect(plannedMicros(plan, aheadUntil)).toBeGreaterThanOrEqual(spent - 1);
          expect(plannedMicros(plan, aheadUntil - 1)).toBeLessThanOrEqual(spent + 1);
        }
      }),
      { numRuns: 60 },
    );
    await change(0, 'even', 0);
  });

  it('is in the metrics, by campaign, with the daily cap', async () => {
    const { ad, campaign, advertiser } = await pacedAccount({ pacing: 'even' });
    await spend(ad, (86_400_000_000 * 3) / 4);
    await addAccount(database.pool, { dailyCap: '5.00' });
    const metrics = createMetrics('processor');
    const config = { ...parseConfig({}), DATABASE_URL: database.url };
    const dispatcher = { problems: [], clicksAside: 0 } as unknown as BatchDispatcher;
    const gauges = collectGauges(
      { config, pool: database.pool, dispatcher, metrics, logger: silent },
      new Map(),
    );
    onTestFinished(() => gauges.stop());
    const readGauge = async (gauge: 'campaignPlanned' | 'campaignSpent' | 'campaignAhead') =>
      (await metrics[gauge].get()).values.find(({ labels }) => labels.campaign === campaign.id);
    const labels = { campaign: campaign.id, advertiser: advertiser.id };
    await expect.poll(() => readGauge('campaignSpent')).toEqual({ labels, value: 0.75 });
    expect(await readGauge('campaignPlanned')).toEqual({ labels, value: expect.closeTo(0.52, 1) });
    expect(await readGauge('campaignAhead')).toEqual({ labels, value: 1 });
    const cap = { ...labels, currency: 'USD', period: 'day' };
    expect((await metrics.campaignCap.get()).values).toContainEqual({ labels: cap, value: 86_400 });
    expect((await metrics.campaignCapSpent.get()).values).toContainEqual({ labels: cap, value: 64_800 });
    expect((await metrics.campaignInfo.get()).values).toContainEqual({
      labels: { ...labels, name: campaign.name, status: 'active' },
      value: 1,
    });
    const paced = await database.pool.query(
      "select from campaign where pacing <> 'none' and phase <> 'ended'",
    );
    expect((await metrics.campaignSpent.get()).values).toHaveLength(paced.rowCount ?? 0);
  });
});

describe('a campaign that is ahead of its plan', () => {
  it('is not held without hold', async () => {
    const { ad } = await pacedAccount({ pacing: 'even' });
    await spend(ad, 80_000_000_000);
    expect(await catalogAd(ad)).toMatchObject({ held: false, exhaustedUntil: null });
  });

  it('with hold is held until the plan reaches what is spent, and its held clicks are not charged', async () => {
    const account = await pacedAccount({ pacing: 'even', hold: true });
    await spend(account.ad, 80_000_000_000);
    const held = await catalogAd(account.ad);
    expect(held).toMatchObject({ held: true, exhaustedUntil: held.pace?.aheadUntil });
    const nonce = uuidV7();
    const clicks = [clickRecord({ ad: account.ad, nonce, held: true, budgetExhausted: true })];
    expect(await chargeBatchTwice(database.pool, clicks)).toEqual(['over_budget: pace']);
    // The visit was the link's valid click.
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad: account.ad, nonce })])).toEqual([
      'invalid: repeat',
    ]);
    await change(account, { hold: false });
    expect(await catalogAd(account.ad)).toMatchObject({ held: false, exhaustedUntil: null });
  });

  it('is not held but exhausted when its daily cap is spent', async () => {
    const { ad } = await pacedAccount({ pacing: 'even', hold: true });
    await spend(ad, 86_400_000_000);
    const { held, exhaustedUntil, pace } = await catalogAd(ad);
    expect({ held, exhaustedUntil }).toEqual({ held: false, exhaustedUntil: pace?.to });
  });

  it('gets no over-delivery from held clicks', async () => {
    const { ad } = await pacedAccount({ pacing: 'even', hold: true });
    const click = clickRecord({ ad, held: true });
    const { overDelivery } = await chargeClicks(database.pool, [click], OPTIONS);
    expect(overDelivery).toEqual(new Map());
  });

  it.each([0, 3])(
    'spends at most the clicks between a commit and the catalog’s reading beyond its plan (%d batches late)',
    { timeout: 30_000 },
    async (batchesLate) => {
      // The plan allows 10.00 a second, which is less than the clicks offered.
      const { ad } = await pacedAccount({ pacing: 'even', hold: true }, '864000.00');
      await spend(ad, plannedMicros(await planOf(ad), Date.now()));
      const [priceMicros, clicksPerBatch] = [1_000_000, 10];
      const boundMicros = priceMicros * clicksPerBatch * (batchesLate + 1);
      const catalogs = [await catalogAd(ad)];
      const counts = { charged: 0, held: 0 };
      for (const end = performance.now() + 2_500; performance.now() < end; ) {
        const catalog = catalogs.at(-1 - batchesLate) ?? catalogs[0];
        const held = catalog !== undefined && isExhausted(catalog, Date.now()) && catalog.held;
        const batch = Array.from({ length: clicksPerBatch }, () =>
          clickRecord({ ad, priceMicros, budgetExhausted: held, ...(held ? { held } : {}) }),
        );
        const { outcomes } = await chargeClicks(database.pool, batch, OPTIONS);
        for (const { outcome } of outcomes) counts[outcome === 'charged' ? 'charged' : 'held'] += 1;
        catalogs.push(await catalogAd(ad));
        const plan = await planOf(ad);
        expect(plan.spentMicros - plannedMicros(plan, Date.now())).toBeLessThanOrEqual(boundMicros);
      }
      expect(counts.held).toBeGreaterThan(0);
      // It is charged again when the plan has caught up.
      expect(counts.charged).toBeGreaterThan(clicksPerBatch);
    },
  );
});

describe('pacing is refused', () => {
  it.each<[string, CampaignChanges, RegExp]>([
    [
      'without a daily cap',
      { pacing: 'even', dailyCapMicros: null },
      /^Expected a daily cap for pacing "even", campaign \d+ has none/,
    ],
    ['with hold alone', { hold: true }, /^Expected pacing "even" or "rest" for hold, campaign \d+ has none/],
    [
      'with hold without a fallback URL',
      { pacing: 'rest', hold: true },
      /^Expected a fallback URL for hold, campaign \d+ has none/,
    ],
  ])('%s', async (_, changes, message) => {
    const account = await addAccount(database.pool, { dailyCap: '5.00' });
    await expect(change(account, changes)).rejects.toMatchObject({
      code: 'bad_pacing',
      message: expect.stringMatching(message),
    });
  });

  it('no more, hold included, when it is removed together with the daily cap', async () => {
    const account = await pacedAccount({ pacing: 'even', hold: true });
    await change(account, { pacing: 'none', dailyCapMicros: null });
    const { rows } = await database.pool.query(
      'select pacing, hold, daily_cap_micros from campaign where id = $1',
      [account.campaign.id],
    );
    expect(rows).toEqual([{ pacing: 'none', hold: false, daily_cap_micros: null }]);
    await change(account, { pacing: 'even', dailyCapMicros: 5_000_000n, hold: true });
    await change(account, { hold: false, fallbackUrl: null });
  });
});
