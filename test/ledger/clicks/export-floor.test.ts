import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import { creditClick } from '../../../ledger/accounts/budget-entries.ts';
import {
  boundExport,
  type ExportFilter,
  type ExportRow,
  exportBound,
} from '../../../ledger/clicks/export.ts';
import { dropClosedDays } from '../../../ledger/maintenance.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord } from '../../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let account: Account;
const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
const YESTERDAY = new Date(today - DAY_MS);
const FLOOR = new Date(today - DAY_MS + 3_600_000);

beforeEach(async () => {
  database = await createTestDatabase({ poolSize: 5 });
  account = await addAccount(database.pool);
  for (const daysAgo of [2, 0]) {
    const clickedAt = today - daysAgo * DAY_MS;
    await chargeBatch(database.pool, [clickRecord({ ad: account.ad, clickedAt })]);
  }
  // The click of the day before yesterday was settled yesterday, up to 1:00.
  await database.pool.query(
    `update ledger set settled_at = $1::timestamptz - interval '1 microsecond' where clicked_at < $2`,
    [FLOOR, YESTERDAY],
  );
});
afterEach(() => database.drop());

/** Drops the day before yesterday, as maintenance does after `LEDGER_RETENTION_DAYS`. */
async function dropDay(): Promise<void> {
  await database.pool.query('update ledger_window set click_floor = $1', [YESTERDAY]);
  await dropClosedDays(database.pool, silent, 0);
}

async function exported(filter: ExportFilter): Promise<ExportRow[]> {
  const rows: ExportRow[] = [];
  const period = await boundExport(database.pool, filter);
  await exportBound(database.pool, period, async (page) => void rows.push(...page));
  return rows;
}

describe('an export after the ledger has dropped a day', () => {
  it('is refused if it begins before the time from which on all clicks are there', async () => {
    expect(await exported({ since: YESTERDAY })).toHaveLength(2);
    await dropDay();
    await expect(boundExport(database.pool, { since: YESTERDAY })).rejects.toMatchObject({
      code: 'day_closed',
      message: expect.stringContaining(`at or after ${FLOOR.toISOString()}, got ${YESTERDAY.toISOString()}`),
    });
    expect(await exported({ since: FLOOR })).toHaveLength(1);
  });

  it('has what the ledger still has if it names no beginning, and says from when on that is all', async () => {
    expect((await boundExport(database.pool, {})).completeFrom).toBeNull();
    await dropDay();
    expect((await boundExport(database.pool, {})).completeFrom).toEqual(FLOOR);
    expect(await exported({})).toHaveLength(1);
  });

  it.each<[string, ExportFilter]>([
    ['from a time on', { since: YESTERDAY }],
    ['of everything', {}],
  ])('fails if the day was dropped before its rows were read: %s', async (_, filter) => {
    const period = await boundExport(database.pool, filter);
    await dropDay();
    await expect(exportBound(database.pool, period, async () => {})).rejects.toMatchObject({
      code: 'day_closed',
    });
  });

  it('goes on if the day was dropped before its beginning', async () => {
    const period = await boundExport(database.pool, { since: FLOOR });
    await dropDay();
    await expect(exportBound(database.pool, period, async () => {})).resolves.toBeUndefined();
  });
});

describe('a credit whose click was dropped', () => {
  it('refuses an export of a campaign or a publisher that it can belong to', async () => {
    const { advertiser, campaign, ad } = account;
    const credited = clickRecord({ ad });
    await chargeBatch(database.pool, [credited]);
    await creditClick(database.pool, credited.click.clickId);
    const other = await addAccount(database.pool);
    const since = new Date(today);
    expect(await exported({ since, campaignId: campaign.id })).toHaveLength(3);
    const gone = uuidV7(Date.now() - 300 * DAY_MS);
    await database.pool.query('update budget_entry set click_id = $1 where click_id is not null', [gone]);
    for (const filter of [{ campaignId: campaign.id }, { publisher: 'news' }]) {
      const refusal = { code: 'day_closed', message: expect.stringContaining(gone) };
      await expect(boundExport(database.pool, { since, ...filter })).rejects.toMatchObject(refusal);
      const bound = { since, until: new Date(), completeFrom: null, ...filter };
      await expect(exportBound(database.pool, bound, async () => {})).rejects.toMatchObject(refusal);
    }
    expect(await exported({ since, advertiserId: advertiser.id })).toHaveLength(3);
    // It is of another advertiser, or was entered in another period.
    expect(await exported({ since, campaignId: other.campaign.id })).toEqual([]);
    expect(await exported({ since, advertiserId: other.advertiser.id, publisher: 'news' })).toEqual([]);
    expect(await exported({ since: FLOOR, until: since, campaignId: campaign.id })).toEqual([]);
  });
});
