import { describe, expect, it } from 'vitest';
import { DAY_MS } from '../../../common/unix-time.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../../ledger/accounts/campaigns.ts';
import { dayStart } from '../../../ledger/partitions.ts';
import { type ReportFilter, readReport } from '../../../ledger/reports/report.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../../support/database.ts';
import { clickRecord } from '../../support/records.ts';

const database = testDatabase();

describe('a report', () => {
  const day = { since: '2026-01-01', until: '2026-01-02', by: ['day'] } as const;
  it.each([
    ['bad_window', { ...day, until: '2026-01-01' }],
    ['bad_window', { ...day, since: new Date('2026-01-01T00:07:00Z') }],
    ['unknown_advertiser', { ...day, advertiserId: 4_711 }],
    ['unknown_campaign', { ...day, campaignId: 4_711 }],
  ])('is refused with %s', async (code, filter: ReportFilter) => {
    await expect(readReport(database.pool, filter)).rejects.toMatchObject({ code });
  });

  it('of one advertiser has the days of its time zone', async () => {
    const { id: advertiserId } = await addAdvertiser(database.pool, 'Far', 'USD', 'Asia/Kathmandu');
    expect(await readReport(database.pool, { ...day, advertiserId })).toMatchObject({
      timeZone: 'Asia/Kathmandu',
      since: new Date('2025-12-31T18:15:00Z'),
    });
  });

  it('has the whole of a day whose midnight comes twice', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    const advertiserId = advertiser.id;
    // In Havana, the clocks go back at 1:00 on 1 November 2026: 0:00–1:00 comes at 4:00Z and at 5:00Z.
    await database.pool.query(
      `insert into click_rollup (quarter, advertiser_id, campaign_id, ad_id, publisher, outcome, reason, clicks, charged_micros)
       select quarter, $1, $2, $3, '', 'charged', '', 1, 1 from unnest($4::timestamptz[]) quarter`,
      [
        advertiserId,
        campaign.id,
        ad.id,
        [
          '2026-11-01T03:45Z',
          '2026-11-01T04:00Z',
          '2026-11-01T05:00Z',
          '2026-11-02T04:45Z',
          '2026-11-02T05:00Z',
        ],
      ],
    );
    const { since, until, rows } = await readReport(database.pool, {
      since: '2026-11-01',
      until: '2026-11-02',
      by: ['day'],
      advertiserId,
      timeZone: 'America/Havana',
    });
    expect([since, until]).toEqual([new Date('2026-11-01T04:00Z'), new Date('2026-11-02T05:00Z')]);
    expect(rows.map(({ day, clicks }) => [day, clicks])).toEqual([['2026-11-01', 3n]]);
  });

  it('never adds amounts of different currencies', async () => {
    const francs = await addAdvertiser(database.pool, 'Francs', 'CHF');
    await addBudgetEntry(database.pool, francs.id, 'top_up', 10_000_000n);
    const campaign = await addCampaign(database.pool, francs.id, 'Francs');
    const { ad } = await addAccount(database.pool);
    await chargeBatch(database.pool, [
      clickRecord({ ad }),
      clickRecord({ ad: await addAdTo(database.pool, campaign, '2.00') }),
    ]);
    await rollUp(database.pool);
    const today = dayStart(Date.now());
    const { rows } = await readReport(database.pool, {
      since: new Date(today - DAY_MS),
      until: new Date(today + 2 * DAY_MS),
      by: [],
    });
    expect(rows).toMatchObject([
      { currency: 'CHF', chargedMicros: 2_000_000n },
      { currency: 'USD', chargedMicros: 250_000n },
    ]);
  });
});
