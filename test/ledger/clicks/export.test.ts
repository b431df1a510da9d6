import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick, listBudgetEntries } from '../../../ledger/accounts/budget-entries.ts';
import { BEGIN_CHARGE } from '../../../ledger/charge-locks.ts';
import { type ExportFilter, type ExportRow, exportLedger } from '../../../ledger/clicks/export.ts';
import { readSettlementWatermark } from '../../../ledger/settlement-watermark.ts';
import { settle } from '../../../processor/charge/charge-clicks.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { lockSettlementAt } from '../../support/database-clock.ts';
import { clickRecord, TestSpool, unreadableRecord } from '../../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase({ poolSize: 20 });
});
afterEach(() => database.drop());

const LONG_AGO = new Date(0);

async function exported(filter: Partial<ExportFilter> = {}): Promise<{ rows: ExportRow[]; until: Date }> {
  const rows: ExportRow[] = [];
  const until = await exportLedger(
    database.pool,
    { since: LONG_AGO, ...filter },
    async (page) => void rows.push(...page),
  );
  return { rows, until };
}

describe('consecutive exports, while transactions are open', () => {
  it('export every click exactly once', async () => {
    const accounts = await Promise.all(
      [1, 2, 3, 4].map(() => addAccount(database.pool, { budget: '1000000.00' })),
    );
    const sent: string[] = [];
    let over = false;
    /** Charges batches, with pauses between the begin, the rows and the commit of each transaction. */
    const writer = async ({ ad }: (typeof accounts)[number], index: number) => {
      const connection = await database.pool.connect();
      try {
        for (let round = 0; !over; round += 1) {
          const batch = Array.from({ length: 5 }, () => clickRecord({ ad }));
          await connection.query(BEGIN_CHARGE);
          await connection.query('select pg_sleep($1)', [((round * 7 + index * 3) % 10) / 100]);
          await settle(connection, batch, { clickAgeMaxDays: 14 });
          await connection.query('select pg_sleep($1)', [((round * 3 + index * 7) % 10) / 100]);
          await connection.query('commit');
          sent.push(...batch.map(({ click }) => click.clickId));
        }
      } finally {
        connection.release();
      }
    };
    const writers = accounts.map(writer);
    const found: string[] = [];
    let since = LONG_AGO;
    const take = async () => {
      const { rows, until } = await exported({ since });
      for (const { clickId, settledAt } of rows) {
        found.push(clickId ?? '');
        expect(settledAt.getTime()).toBeLessThan(until.getTime());
      }
      expect(until.getTime()).toBeGreaterThanOrEqual(since.getTime());
      since = until;
    };
    const windows = 40;
    for (let window = 0; window < windows; window += 1) await take();
    over = true;
    await Promise.all(writers);
    const takeMore = async () => {
      await take();
      return found.length;
    };
    await expect.poll(takeMore, { timeout: 10_000 }).toBe(sent.length);
    expect(sent.length).toBeGreaterThan(100);
    expect(found.toSorted()).toEqual(sent.toSorted());
  });

  it('end before the rows of an open transaction, and include them after its commit', async () => {
    const { ad } = await addAccount(database.pool);
    const connection = await database.pool.connect();
    await connection.query(BEGIN_CHARGE);
    const begun = await readSettlementWatermark(database.pool);
    const click = clickRecord({ ad });
    await connection.query('select pg_sleep(0.1)');
    await settle(connection, [click], { clickAgeMaxDays: 14 });
    const { rows, until } = await exported();
    expect(rows).toEqual([]);
    // The time at which the transaction took its lock.
    expect(until).toEqual(begun);
    expect(Date.now() - until.getTime()).toBeLessThan(30_000);
    await connection.query('commit');
    connection.release();
    const after = await exported({ since: until });
    expect(after.rows.map(({ clickId }) => clickId)).toEqual([click.click.clickId]);
    expect(after.until.getTime()).toBeGreaterThan(until.getTime());
  });

  it('end before the oldest of several transactions, and ignore transactions of other databases', async () => {
    const connections = await Promise.all([3, 30, 0].map(() => database.pool.connect()));
    const beginAgo = (seconds: number) => `begin; ${lockSettlementAt(`clock_ms() - ${1_000 * seconds}`)}`;
    try {
      for (const [index, seconds] of [3, 30, 0].entries()) await connections[index]?.query(beginAgo(seconds));
      const ageMs = Date.now() - (await readSettlementWatermark(database.pool)).getTime();
      expect(ageMs).toBeGreaterThan(29_000);
      const elsewhere = await createTestDatabase();
      const watermark = await readSettlementWatermark(elsewhere.pool).finally(() => elsewhere.drop());
      expect(Date.now() - watermark.getTime()).toBeLessThan(20_000);
    } finally {
      for (const connection of connections) {
        await connection.query('rollback');
        connection.release();
      }
    }
  });

  it('do not repeat rows when the watermark is lower than the last bound', async () => {
    const { ad } = await addAccount(database.pool);
    const connection = await database.pool.connect();
    try {
      await chargeBatch(database.pool, [clickRecord({ ad })]);
      const { until } = await exported();
      // A transaction that has read the time before the bound, and takes its lock only now.
      await connection.query(`begin; ${lockSettlementAt(String(until.getTime() - 1))}`);
      expect((await readSettlementWatermark(database.pool)).getTime()).toBe(until.getTime() - 1);
      const next = await exported({ since: until });
      expect(next.until).toEqual(until);
      expect(next.rows).toEqual([]);
    } finally {
      await connection.query('rollback');
      connection.release();
    }
  });

  it('use a given bound in the past, and the watermark for one in the future', async () => {
    const early = new Date(Date.now() - DAY_MS);
    expect((await exported({ until: early })).until).toEqual(early);
    const { until } = await exported({ until: new Date(Date.now() + DAY_MS) });
    expect(Math.abs(until.getTime() - Date.now())).toBeLessThan(60_000);
  });
});

describe('an invalid filter', () => {
  it.each<[string, Partial<ExportFilter>, string]>([
    ['from the future', { since: new Date(Date.now() + DAY_MS) }, 'bad_window'],
    ['that ends before it begins', { since: new Date(2_000), until: new Date(1_000) }, 'bad_window'],
    ['of an unknown advertiser', { advertiserId: 999 }, 'unknown_advertiser'],
    ['of an unknown campaign', { campaignId: 999 }, 'unknown_campaign'],
  ])('is refused: %s', async (_, filter, code) => {
    await expect(exported(filter)).rejects.toMatchObject({ code });
  });

  it('is named in the error', async () => {
    await expect(exported({ advertiserId: 999 })).rejects.toThrow(
      'Expected the id of an advertiser in the database, got 999',
    );
  });
});

describe('the rows', () => {
  it('include the lower bound and exclude the upper one, for clicks, rejected clicks and credits', async () => {
    const { ad } = await addAccount(database.pool);
    const click = clickRecord({ ad });
    await chargeBatch(database.pool, [click, clickRecord({ ad: { ...ad, id: 2_000_000_000 } })]);
    await creditClick(database.pool, click.click.clickId);
    const at = new Date(Date.now() - 60_000);
    await database.pool.query('update ledger set settled_at = $1', [at]);
    await database.pool.query('update dead_letter set settled_at = $1', [at]);
    await database.pool.query('update budget_entry set created_at = $1', [at]);
    const outcomes = async (filter: Partial<ExportFilter>) =>
      (await exported(filter)).rows.map(({ outcome }) => outcome).toSorted();
    const all = ['charged', 'credit', 'rejected'];
    expect(await outcomes({ since: at })).toEqual(all);
    expect(await outcomes({ since: new Date(at.getTime() + 1) })).toEqual([]);
    expect(await outcomes({ until: at })).toEqual([]);
    expect(await outcomes({ until: new Date(at.getTime() + 1) })).toEqual(all);
  });

  it.each([2_000, 2_001, 4_000])('are complete over several pages: %i', async (count) => {
    const { ad } = await addAccount(database.pool, { budget: '1000000.00' });
    const clicks = Array.from({ length: count }, () => clickRecord({ ad }));
    await chargeBatch(database.pool, clicks);
    const { rows } = await exported();
    expect(rows.map(({ clickId }) => clickId)).toEqual(clicks.map(({ click }) => click.clickId).toSorted());
  });

  it('are in the order of the clicks over several days, not in the order of settlement', async () => {
    const { ad } = await addAccount(database.pool);
    const now = Date.now();
    const clicks = [5, 1, 0, 9, 3].map((daysAgo) => clickRecord({ ad, clickedAt: now - daysAgo * DAY_MS }));
    for (const click of clicks) await chargeBatch(database.pool, [click]);
    const { rows } = await exported();
    expect(rows.map(({ clickedAt }) => clickedAt?.getTime())).toEqual(
      [9, 5, 3, 1, 0].map((daysAgo) => now - daysAgo * DAY_MS),
    );
  });

  it('are those of the advertiser or campaign in the filter', async () => {
    const [one, other] = [await addAccount(database.pool), await addAccount(database.pool)];
    const [mine, foreign] = [clickRecord({ ad: one.ad }), clickRecord({ ad: other.ad })];
    await chargeBatch(database.pool, [mine, foreign]);
    const ids = async (filter: Partial<ExportFilter>) =>
      (await exported(filter)).rows.map(({ clickId }) => clickId);
    expect(await ids({ advertiserId: one.advertiser.id })).toEqual([mine.click.clickId]);
    expect(await ids({ campaignId: other.campaign.id })).toEqual([foreign.click.clickId]);
    expect(await ids({ advertiserId: one.advertiser.id, campaignId: other.campaign.id })).toEqual([]);
    expect(await ids({})).toHaveLength(2);
  });

  it('include rejected clicks with any id and unreadable records with a key, but no foreign records', async () => {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const ancient = spool.click({ ad, clickedAt: 1_000 });
    const ahead = spool.click({ ad, clickedAt: Date.now() + 300 * DAY_MS });
    const unknown = spool.click({ ad: { ...ad, id: 999 } });
    await chargeBatch(database.pool, [
      ancient,
      ahead,
      unknown,
      unreadableRecord(Buffer.from('?'), spool.next()),
      unreadableRecord(Buffer.from('!'), null),
    ]);
    const { rows } = await exported();
    expect(rows.map(({ clickId, outcome, reason }) => [clickId, outcome, reason])).toEqual([
      [unknown.click.clickId, 'rejected', 'unknown_ad'],
      [ancient.click.clickId, 'rejected', 'id_out_of_range'],
      [ahead.click.clickId, 'rejected', 'id_out_of_range'],
      [null, 'rejected', 'malformed'],
    ]);
  });
});

describe('a credit', () => {
  it('is a separate row with the negative amount, in addition to the row of its click', async () => {
    const { ad, advertiser } = await addAccount(database.pool);
    const click = clickRecord({ ad, nonce: uuidV7() });
    await chargeBatch(database.pool, [click]);
    await creditClick(database.pool, click.click.clickId);
    const { rows, until } = await exported();
    const [charged, credit] = rows;
    expect(rows).toHaveLength(2);
    expect(charged).toMatchObject({ outcome: 'charged', chargedMicros: 250_000n });
    expect(credit).toEqual({
      ...charged,
      outcome: 'credit',
      reason: null,
      chargedMicros: -250_000n,
      settledAt: expect.any(Date),
    });
    expect(credit?.settledAt.getTime()).toBeGreaterThanOrEqual(charged?.settledAt.getTime() ?? 0);
    await creditClick(database.pool, click.click.clickId);
    expect((await exported({ since: until })).rows).toEqual([]);
    const other = await addAccount(database.pool);
    expect((await exported({ advertiserId: other.advertiser.id })).rows).toEqual([]);
    expect((await exported({ advertiserId: advertiser.id })).rows).toHaveLength(2);
  });

  it('is exported even if the day of its click was dropped', async () => {
    const { ad, advertiser } = await addAccount(database.pool);
    const click = clickRecord({ ad });
    await chargeBatch(database.pool, [click]);
    await creditClick(database.pool, click.click.clickId);
    const gone = uuidV7(Date.now() - 300 * DAY_MS);
    await database.pool.query('update budget_entry set click_id = $1 where click_id is not null', [gone]);
    const credit = (await exported()).rows.find(({ outcome }) => outcome === 'credit');
    expect(credit).toMatchObject({ clickId: gone, advertiserId: advertiser.id, adId: null, currency: 'USD' });
  });
});

describe('the entries of a budget', () => {
  it('are its top-ups, adjustments and credits, oldest first', async () => {
    const { ad, advertiser } = await addAccount(database.pool, { budget: '10.00' });
    await addBudgetEntry(database.pool, advertiser.id, 'adjustment', -1_500_000n, 'invoice-4711');
    const click = clickRecord({ ad });
    await chargeBatch(database.pool, [click]);
    await creditClick(database.pool, click.click.clickId);
    const entries = await listBudgetEntries(database.pool, advertiser.id);
    expect(entries.map(({ kind, amountMicros, clickId }) => [kind, amountMicros, clickId])).toEqual([
      ['top_up', 10_000_000n, null],
      ['adjustment', -1_500_000n, null],
      ['credit', 250_000n, click.click.clickId],
    ]);
    expect(entries[1]?.reference).toBe('invoice-4711');
  });

  it('are empty for a new advertiser, and an error for an unknown one', async () => {
    const { id } = await addAdvertiser(database.pool, 'New', 'USD');
    expect(await listBudgetEntries(database.pool, id)).toEqual([]);
    await expect(listBudgetEntries(database.pool, id + 1)).rejects.toMatchObject({
      code: 'unknown_advertiser',
    });
  });
});
