import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAmount } from '../../../common/money.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { listAds, updateAd } from '../../../ledger/accounts/ads.ts';
import { addAdvertiser, setAdvertiserStatus } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { readCampaignCharges, readCampaignSpend } from '../../../ledger/accounts/campaign-spend.ts';
import {
  addCampaign,
  listCampaigns,
  readCampaign,
  updateCampaign,
} from '../../../ledger/accounts/campaigns.ts';
import { withAdvertiserLock } from '../../../ledger/advertiser-lock.ts';
import { dropClosedDays } from '../../../ledger/maintenance.ts';
import { dayStart } from '../../../ledger/partitions.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import {
  chargeBatch,
  chargeBatchTwice,
  expectBalanced,
  untilWaitingForLock,
} from '../../support/charge-batch.ts';
import { type Account, addAccount, addAdTo, testDatabase } from '../../support/database.ts';
import { examples } from '../../support/examples.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord } from '../../support/records.ts';

const database = testDatabase();

function spendOf({ advertiser, campaign }: Account, day: string | null = null): Promise<bigint> {
  return withAdvertiserLock(database.pool, advertiser.id, (connection) =>
    readCampaignSpend(connection, campaign.id, day),
  );
}

describe('the cap of a campaign', () => {
  it('can be raised, and lowered down to what is spent', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.40', cap: '1.00' });
    const setCap = (amount: string) =>
      updateCampaign(database.pool, campaign.id, { capMicros: parseAmount(amount) });
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad }), clickRecord({ ad })])).toEqual([
      'charged',
      'charged',
    ]);
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad })])).toEqual(['over_budget: cap']);
    expect(await setCap('1.20')).toMatchObject({ capMicros: 1_200_000n, spentMicros: 800_000n });
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
    await expect(setCap('1.199999')).rejects.toMatchObject({
      code: 'cap_below_spent',
      message: `Expected a cap of at least 1.20 USD, which campaign ${campaign.id} has spent; got 1.199999`,
    });
    expect(await setCap('1.20')).toMatchObject({ capMicros: 1_200_000n, spentMicros: 1_200_000n });
    await expectBalanced(database.pool);
  });

  it('that is set first, or again after it was removed, counts every charge before it', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.40' });
    const yesterday = Date.now() - 86_400_000;
    const setCap = (capMicros: bigint | null) => updateCampaign(database.pool, campaign.id, { capMicros });
    await chargeBatchTwice(database.pool, [clickRecord({ ad }), clickRecord({ ad, clickedAt: yesterday })]);
    await rollUp(database.pool);
    const last = clickRecord({ ad, clickedAt: yesterday - 5 * 86_400_000 });
    await chargeBatchTwice(database.pool, [last, clickRecord({ ad })]);
    // A credit raises the budget and not the cap.
    await creditClick(database.pool, last.click.clickId);
    await expect(setCap(1_599_999n)).rejects.toMatchObject({ code: 'cap_below_spent' });
    expect(await setCap(2_000_000n)).toMatchObject({ spentMicros: 1_600_000n });
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad })])).toEqual(['over_budget: cap']);

    expect(await setCap(null)).toMatchObject({ capMicros: null, spentMicros: 0n });
    await chargeBatchTwice(database.pool, [clickRecord({ ad })]);
    await rollUp(database.pool);
    expect(await setCap(2_400_000n)).toMatchObject({ spentMicros: 2_400_000n });
    await rollUp(database.pool);
    expect(await readCampaignCharges(database.pool, campaign.id)).toBe(2_400_000n);
    await expectBalanced(database.pool);
  });

  it('that is set first counts the charges of days that the ledger has dropped', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.40' });
    const clickedAt = Date.now() - 13 * DAY_MS;
    await chargeBatchTwice(database.pool, [clickRecord({ ad, clickedAt }), clickRecord({ ad })]);
    await database.pool.query('update ledger_window set click_floor = $1, floor_raised_at = now()', [
      new Date(dayStart(clickedAt) + DAY_MS),
    ]);
    await dropClosedDays(database.pool, silent, 0);
    expect(await updateCampaign(database.pool, campaign.id, { capMicros: 800_000n })).toMatchObject({
      spentMicros: 800_000n,
    });
    await expectBalanced(database.pool);
  });

  it('that is set first waits for a run of the rollup: a click is counted in it or beside it, not in both', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.40' });
    await chargeBatch(database.pool, [clickRecord({ ad })]);
    const run = await database.pool.connect();
    try {
      await run.query('begin; select from click_rollup_state for update');
      const set = updateCampaign(database.pool, campaign.id, { capMicros: 1_000_000n });
      await untilWaitingForLock(database.pool);
      await run.query('commit');
      expect(await set).toMatchObject({ spentMicros: 400_000n });
    } finally {
      run.release(true);
    }
  });

  it('can be set while clicks are charged and rolled up', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.01' });
    const charges = Array.from({ length: 20 }, () =>
      chargeBatch(database.pool, [clickRecord({ ad }), clickRecord({ ad })]),
    );
    const changes = Array.from({ length: 10 }, async (_, index) => {
      await rollUp(database.pool);
      await updateCampaign(database.pool, campaign.id, { capMicros: index % 2 === 0 ? 300_000n : null });
    });
    await Promise.allSettled([...charges, ...changes]);
    await updateCampaign(database.pool, campaign.id, { capMicros: 500_000n });
    expect(await readCampaign(database.pool, campaign.id)).toMatchObject({
      spentMicros: await spendOf({ ad, campaign, advertiser: { id: ad.advertiserId } } as Account),
    });
    await expectBalanced(database.pool);
  });

  // Whatever the order of clicks, changes of the cap and runs of the rollup.
  it('is never exceeded', { timeout: 120_000 }, async () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant('clicks' as const),
          count: fc.integer({ min: 1, max: 5 }),
          ad: fc.nat(1),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant('cap' as const),
          cap: fc.option(fc.integer({ min: 1, max: 150 })),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('roll up' as const) }) },
    );
    const rounds = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 3, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(rounds, async (story) => {
        const { advertiser, campaign, ad } = await addAccount(database.pool, { price: '0.000007' });
        const ads = [ad, await addAdTo(database.pool, campaign, '0.000030')];
        const run = async (one: (typeof story)[number][number]) => {
          if (one.do === 'roll up') return rollUp(database.pool);
          if (one.do === 'clicks') {
            const batch = Array.from({ length: one.count }, () => clickRecord({ ad: ads[one.ad] ?? ad }));
            return chargeBatch(database.pool, batch);
          }
          const capMicros = one.cap === null ? null : BigInt(one.cap);
          return updateCampaign(database.pool, campaign.id, { capMicros }).catch(
            (error: { code: string }) => {
              if (error.code !== 'cap_below_spent') throw error;
            },
          );
        };
        for (const concurrent of story) {
          await Promise.all(concurrent.map(run));
          const { capMicros, spentMicros } = await readCampaign(database.pool, campaign.id);
          const charged = await spendOf({ advertiser, campaign, ad });
          const { rows } = await database.pool.query<{ micros: bigint }>(
            'select coalesce(sum(charged_micros), 0)::bigint as micros from ledger where campaign_id = $1',
            [campaign.id],
          );
          expect(charged).toBe(rows[0]?.micros);
          expect(spentMicros).toBe(capMicros === null ? 0n : charged);
          if (capMicros !== null) expect(charged).toBeLessThanOrEqual(capMicros);
        }
      }),
      { numRuns: examples(25) },
    );
    await expectBalanced(database.pool);
  });
});

describe('what a campaign has spent on a day', () => {
  it('is that of the day in the time zone of its advertiser', async () => {
    const { id } = await addAdvertiser(database.pool, 'Tokyo', 'USD', 'Asia/Tokyo');
    await addBudgetEntry(database.pool, id, 'top_up', 1_000_000n);
    const campaign = await addCampaign(database.pool, id, 'Tokyo');
    const ad = await addAdTo(database.pool, campaign, '0.10');
    const midnight = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 9 * 3_600_000;
    const day = new Date(midnight + 9 * 3_600_000).toISOString().slice(0, 10);
    const spend = () =>
      withAdvertiserLock(database.pool, id, async (connection) => [
        await readCampaignSpend(connection, campaign.id, day),
        await readCampaignSpend(connection, campaign.id),
      ]);
    await chargeBatchTwice(database.pool, [
      clickRecord({ ad, clickedAt: midnight - 1 }),
      clickRecord({ ad, clickedAt: midnight }),
    ]);
    expect(await spend()).toEqual([100_000n, 200_000n]);
    await rollUp(database.pool);
    await chargeBatchTwice(database.pool, [clickRecord({ ad, clickedAt: midnight + 1 })]);
    expect(await spend()).toEqual([200_000n, 300_000n]);
  });
});

describe('the dates of a campaign', () => {
  it('are times, or days in the time zone of the advertiser', async () => {
    const { id } = await addAdvertiser(database.pool, 'Berlin', 'EUR', 'Europe/Berlin');
    const campaign = await addCampaign(database.pool, id, 'Spring', {
      startsAt: '2026-03-29',
      endsAt: '2026-03-30',
    });
    // The clocks are set forward on this day, which has 23 hours.
    expect(campaign).toMatchObject({
      startsAt: new Date('2026-03-28T23:00:00Z'),
      endsAt: new Date('2026-03-29T22:00:00Z'),
    });
    const end = new Date('2026-04-01T12:30:00.250Z');
    expect(await updateCampaign(database.pool, campaign.id, { startsAt: null, endsAt: end })).toMatchObject({
      startsAt: null,
      endsAt: end,
    });
  });

  it('are refused outside of the years 1970 to 9999 of UTC', async () => {
    const { id } = await addAdvertiser(database.pool, 'Berlin', 'EUR', 'Europe/Berlin');
    const add = (startsAt: Date | string) => addCampaign(database.pool, id, 'Old', { startsAt });
    await expect(add('1970-01-01')).rejects.toMatchObject({
      code: 'bad_time',
      message: 'Expected a time in the years 1970 to 9999 of UTC, got "1970-01-01 in Europe/Berlin"',
    });
    await expect(add(new Date(-1))).rejects.toMatchObject({ code: 'bad_time' });
    const last = new Date('9999-12-31T23:59:59.999Z');
    const campaigns = [await add('1970-01-02'), await add(new Date(0)), await add(last)];
    expect(campaigns.map(({ startsAt }) => startsAt)).toEqual([
      new Date('1970-01-01T23:00Z'),
      new Date(0),
      last,
    ]);
  });

  it('are refused if the end is not after the start, also when only one changes', async () => {
    const { advertiser } = await addAccount(database.pool);
    const window = { code: 'bad_window' };
    const days = { startsAt: '2026-05-02', endsAt: '2026-05-02' };
    await expect(addCampaign(database.pool, advertiser.id, 'May', days)).rejects.toMatchObject(window);
    const { id } = await addCampaign(database.pool, advertiser.id, 'May', { ...days, endsAt: '2026-06-01' });
    await expect(updateCampaign(database.pool, id, { startsAt: '2026-06-02' })).rejects.toMatchObject({
      ...window,
      message:
        'Expected an end after the start, got the end 2026-06-01T00:00:00.000Z and the start 2026-06-02T00:00:00.000Z',
    });
    await expect(updateCampaign(database.pool, id, { endsAt: '2026-05-01' })).rejects.toMatchObject(window);
    expect(await updateCampaign(database.pool, id, { startsAt: '2026-07-01', endsAt: null })).toMatchObject({
      startsAt: new Date('2026-07-01T00:00:00Z'),
    });
  });
});

describe('lists', () => {
  const ids = (rows: readonly { id: number }[]) => rows.map(({ id }) => id);

  it('are of an advertiser, a campaign or a status', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    const second = await addCampaign(database.pool, advertiser.id, 'Second');
    const other = await addAdTo(database.pool, second);
    await updateAd(database.pool, other.id, { status: 'paused' });
    await updateCampaign(database.pool, second.id, { status: 'paused', name: 'Other' });
    const filter = { advertiserId: advertiser.id };
    expect(ids(await listCampaigns(database.pool, filter))).toEqual([campaign.id, second.id]);
    expect(await listCampaigns(database.pool, { ...filter, status: 'paused' })).toMatchObject([
      { id: second.id, name: 'Other', advertiserName: 'Test advertiser' },
    ]);
    expect(ids(await listAds(database.pool, { campaignId: campaign.id }))).toEqual([ad.id]);
    expect(await listAds(database.pool, { ...filter, status: 'paused' })).toMatchObject([
      { id: other.id, campaignName: 'Other', advertiserName: 'Test advertiser' },
    ]);
    await expect(listAds(database.pool, { campaignId: 2_000_000_000 })).rejects.toMatchObject({
      code: 'unknown_campaign',
    });
  });

  it('leave out what is archived, and what belongs to it', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    const filter = { advertiserId: advertiser.id };
    const all = async (more: object) => [
      ids(await listCampaigns(database.pool, { ...filter, ...more })),
      ids(await listAds(database.pool, { ...filter, ...more })),
    ];
    await updateAd(database.pool, ad.id, { status: 'archived' });
    expect(await all({})).toEqual([[campaign.id], []]);
    await updateAd(database.pool, ad.id, { status: 'active' });
    await updateCampaign(database.pool, campaign.id, { status: 'archived' });
    expect(await all({})).toEqual([[], []]);
    expect(await all({ status: 'active' })).toEqual([[], []]);
    expect(await all({ status: 'archived' })).toEqual([[campaign.id], [ad.id]]);
    await updateCampaign(database.pool, campaign.id, { status: 'active' });
    expect(await all({})).toEqual([[campaign.id], [ad.id]]);
    await setAdvertiserStatus(database.pool, advertiser.id, 'archived');
    expect(await all({})).toEqual([[], []]);
    expect(await all({ all: true })).toEqual([[campaign.id], [ad.id]]);
    expect(await all({ status: 'archived' })).toEqual([[campaign.id], [ad.id]]);
  });
});
