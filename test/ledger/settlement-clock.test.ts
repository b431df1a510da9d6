import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { parseAmount } from '../../common/money.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { OwnClickCounts } from '../../console/live/click-counts.ts';
import { boundAudit, exportAudit } from '../../ledger/access/audit-log.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { exportLedger } from '../../ledger/clicks/export.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { readSettlementWatermark } from '../../ledger/settlement-watermark.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { lockSettlementAt, setDatabaseClock } from '../support/database-clock.ts';
import { clickRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase({ poolSize: 12 });
});
afterEach(() => database.drop());

const HOUR_MS = 3_600_000;
/** Clicks that are settled under jumping clocks, at least. */
const CLICKS_MIN = 100;

async function problems(): Promise<readonly string[]> {
  const result = await reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
  return result.problems;
}

/** Exports what was settled from `since` to the watermark. */
async function exportSince(since: Date): Promise<{ clickIds: string[]; until: Date }> {
  const clickIds: string[] = [];
  const until = await exportLedger(database.pool, { since }, async (rows) => {
    for (const { clickId } of rows) if (clickId !== null) clickIds.push(clickId);
  });
  return { clickIds, until };
}

/** What the sums of the reports have. */
async function rolledUp(): Promise<number> {
  const { rows } = await database.pool.query<{ clicks: number }>(
    'select coalesce(sum(clicks), 0)::float8 as clicks from click_rollup',
  );
  return rows[0]?.clicks ?? 0;
}

describe('while the clock of the database server is set back', () => {
  it.each([
    ['cap', 'capMicros'],
    ['daily cap', 'dailyCapMicros'],
  ] as const)('a %s that is set counts every click, and reports have every click', async (name, cap) => {
    const { pool } = database;
    const { ad, campaign } = await addAccount(pool);
    const charge = (count: number) =>
      chargeBatch(
        pool,
        Array.from({ length: count }, () => clickRecord({ ad })),
      );
    await charge(1);
    await rollUp(pool);
    await setDatabaseClock(pool, `now_ms - ${HOUR_MS}`);
    await charge(2);
    expect(await rolledUp()).toBe(1);
    // 3 clicks at 0.25 are charged: of the next two, the cap pays for one.
    await expect(updateCampaign(pool, campaign.id, { [cap]: parseAmount('0.50') })).rejects.toMatchObject({
      code: 'cap_below_spent',
    });
    await updateCampaign(pool, campaign.id, { [cap]: parseAmount('1.00') });
    expect((await charge(2)).toSorted()).toEqual([
      'charged',
      `over_budget: ${name === 'cap' ? 'cap' : 'daily_cap'}`,
    ]);
    await rollUp(pool);
    expect(await rolledUp()).toBe(5);
    expect(await problems()).toEqual([]);
    await expectBalanced(pool);
    // The clock is right again.
    await setDatabaseClock(pool, 'now_ms');
    await charge(1);
    await rollUp(pool);
    expect(await rolledUp()).toBe(6);
    expect(await problems()).toEqual([]);
  });

  it('consecutive exports have every click, credit and audit entry once', async () => {
    const { pool } = database;
    const { ad, advertiser } = await addAccount(pool);
    const sent: string[] = [];
    const entries: string[] = [];
    const charge = async () => {
      const record = clickRecord({ ad });
      sent.push(record.click.clickId);
      await chargeBatch(pool, [record]);
      const reference = `r${sent.length}`;
      entries.push(reference);
      await addBudgetEntry(pool, advertiser.id, 'top_up', 1n, reference);
    };
    const found: string[] = [];
    const audited: string[] = [];
    let since = new Date(0);
    let auditedTo = new Date(0);
    const take = async () => {
      const { clickIds, until } = await exportSince(since);
      found.push(...clickIds);
      since = until;
      const period = await boundAudit(pool, { action: 'budget_entry.create', since: auditedTo });
      await exportAudit(pool, period, async (rows) => {
        for (const { after } of rows) audited.push(String(after?.reference));
      });
      auditedTo = period.until;
    };
    for (const clock of ['now_ms', `now_ms - ${DAY_MS}`, `now_ms + ${HOUR_MS}`, 'now_ms']) {
      await setDatabaseClock(pool, clock);
      await charge();
      await take();
      await charge();
    }
    // What was stamped before the clock was set back, and after the last export, comes when the settlement clock has passed it.
    const takeMore = async () => {
      await take();
      return [found.length, audited.length];
    };
    await expect.poll(takeMore, { timeout: 10_000 }).toEqual([sent.length, entries.length + 1]);
    expect(found.toSorted()).toEqual(sent.toSorted());
    expect(audited.filter((reference) => entries.includes(reference)).toSorted()).toEqual(entries);
    expect(await problems()).toEqual([]);
  });

  it('an audit export does not end before its beginning', async () => {
    const { pool } = database;
    const end = (await boundAudit(pool, {})).until;
    const connection = await pool.connect();
    try {
      // A transaction that has looked at the clock before the watermark was read, and takes its lock now.
      await connection.query(`begin; ${lockSettlementAt(String(end.getTime() - 1))}`);
      await setDatabaseClock(pool, `now_ms - ${HOUR_MS}`);
      expect((await boundAudit(pool, { since: end })).until).toEqual(end);
      const future = new Date(end.getTime() + HOUR_MS);
      expect((await boundAudit(pool, { since: future })).until).toEqual(new Date(end.getTime() - 1));
    } finally {
      await connection.query('rollback');
      connection.release();
    }
  });

  it('the live page of an advertiser counts its clicks', async () => {
    const { pool } = database;
    const { ad, advertiser } = await addAccount(pool);
    await setDatabaseClock(pool, `now_ms + ${3 * HOUR_MS}`);
    await rollUp(pool);
    await setDatabaseClock(pool, 'now_ms');
    const counts = new OwnClickCounts([advertiser.id]);
    const charged: number[] = [];
    for (let read = 0; read < 4; read++) {
      const { clicks } = await counts.read(pool);
      if (clicks !== null) charged.push(clicks.charged);
      await chargeBatch(pool, [clickRecord({ ad })]);
      await rollUp(pool);
    }
    expect(charged).toEqual([1, 1, 1]);
  });

  it('late clicks are in the reports, seen from the time that their rows are stamped with', async () => {
    const { pool } = database;
    const { ad } = await addAccount(pool);
    await rollUp(pool);
    await setDatabaseClock(pool, `now_ms - ${5 * DAY_MS}`);
    await chargeBatch(pool, [clickRecord({ ad, clickedAt: Date.now() - 4 * DAY_MS })]);
    await rollUp(pool);
    expect(await rolledUp()).toBe(1);
    expect(await problems()).toEqual([]);
  });
});

describe('with clocks that jump at every look', () => {
  it.each([50, HOUR_MS])(
    'by up to %i ms, no click is missed and none is exported twice',
    { timeout: 60_000 },
    async (jumpMs) => {
      const { pool } = database;
      const accounts = await Promise.all([1, 2, 3, 4].map(() => addAccount(pool, { budget: '1000000.00' })));
      await setDatabaseClock(pool, `now_ms + (random() - 0.5) * ${2 * jumpMs}`);
      const sent: string[] = [];
      const endsAt = performance.now() + 2_000;
      const isOver = () => performance.now() > endsAt && sent.length >= CLICKS_MIN;
      const writers = accounts.map(async ({ ad }) => {
        while (!isOver()) {
          const records = [clickRecord({ ad }), clickRecord({ ad })];
          await chargeBatch(pool, records);
          sent.push(...records.map(({ click }) => click.clickId));
        }
      });
      const runs = [1, 2].map(async () => {
        while (!isOver()) await rollUp(pool);
      });
      const found: string[] = [];
      let since = new Date(0);
      const take = async () => {
        const { clickIds, until } = await exportSince(since);
        expect(until.getTime()).toBeGreaterThanOrEqual(since.getTime());
        found.push(...clickIds);
        since = until;
        return found.length;
      };
      while (!isOver()) await take();
      await Promise.all([...writers, ...runs]);
      // No stamp is after this.
      await setDatabaseClock(pool, `now_ms + ${2 * jumpMs}`);
      await expect.poll(take).toBe(sent.length);
      expect(found.toSorted()).toEqual(sent.toSorted());
      await rollUp(pool);
      expect(await rolledUp()).toBe(sent.length);
      expect(await problems()).toEqual([]);
    },
  );
});

describe('the settlement watermark', () => {
  // Seconds since 1970 have more than 31 bits from 2038 on. The second key of the lock is the time modulo 2^32 ms.
  it.each([
    ['in 2038', Date.parse('2038-01-19T03:14:08Z')],
    ['in 2088', Date.parse('2088-01-18T00:00:00Z')],
    ['when the second key begins again', 500 * 2 ** 32],
    ['just before', 500 * 2 ** 32 - 1],
    ['half way', 500.5 * 2 ** 32],
  ])('is the time of the oldest lock %s', async (_, timeMs) => {
    const { pool } = database;
    await setDatabaseClock(pool, String(timeMs));
    const connection = await pool.connect();
    try {
      expect((await readSettlementWatermark(pool)).getTime()).toBe(timeMs);
      await connection.query('begin; select lock_settlement()');
      await setDatabaseClock(pool, String(timeMs + 3 * DAY_MS));
      expect((await readSettlementWatermark(pool)).getTime()).toBe(timeMs);
      const { rows } = await connection.query('select lock_settlement() as at');
      expect(rows).toEqual([{ at: new Date(timeMs) }]);
      await connection.query('commit');
      expect((await readSettlementWatermark(pool)).getTime()).toBeGreaterThan(timeMs + 2 * DAY_MS);
    } finally {
      connection.release();
    }
  });

  it.each([46, 48, 50, 5_000])(
    'is not after a lock that was taken before the clock went on by %i days',
    async (days) => {
      const { pool } = database;
      const connection = await pool.connect();
      try {
        await connection.query('begin');
        const { rows } = await connection.query<{ at: Date }>('select lock_settlement() as at');
        await setDatabaseClock(pool, `now_ms + ${days * DAY_MS}`);
        expect(await readSettlementWatermark(pool)).toEqual(rows[0]?.at);
      } finally {
        await connection.query('rollback');
        connection.release();
      }
    },
  );

  it('does not wait for a lock that is weeks ahead', async () => {
    const { pool } = database;
    const connection = await pool.connect();
    try {
      await setDatabaseClock(pool, `now_ms + ${30 * DAY_MS}`);
      await connection.query('begin; select lock_settlement()');
      await setDatabaseClock(pool, 'now_ms');
      expect((await readSettlementWatermark(pool)).getTime()).toBeGreaterThan(Date.now() - HOUR_MS);
    } finally {
      await connection.query('rollback');
      connection.release();
    }
  });

  it('goes on at half the speed of a clock that is behind, and is not after a lock', async () => {
    const { pool } = database;
    const watermarkAt = async (clockMs: number) => {
      await setDatabaseClock(pool, String(clockMs));
      return (await readSettlementWatermark(pool)).getTime() - start;
    };
    const start = Date.parse('2030-01-01');
    expect(await watermarkAt(start)).toBe(0);
    expect(await watermarkAt(start - HOUR_MS)).toBe(1);
    expect(await watermarkAt(start - HOUR_MS)).toBe(2);
    expect(await watermarkAt(start - HOUR_MS + 1_000)).toBe(502);
    const connection = await pool.connect();
    try {
      await connection.query('begin; select lock_settlement()');
      expect(await watermarkAt(start - HOUR_MS + 2_000)).toBe(502);
      expect(await watermarkAt(start - HOUR_MS + 3_000)).toBe(502);
    } finally {
      await connection.query('rollback');
      connection.release();
    }
    expect(await watermarkAt(start - HOUR_MS + 4_000)).toBe(2_002);
    // After an hour without a call, at most half of ten seconds.
    expect(await watermarkAt(start - HOUR_MS / 2)).toBe(7_002);
    expect(await watermarkAt(start + HOUR_MS)).toBe(HOUR_MS);
  });

  it('is the latest one in a database that is read-only', async () => {
    const { pool } = database;
    const first = await readSettlementWatermark(pool);
    const connection = await pool.connect();
    try {
      await connection.query('begin read only');
      const { rows } = await connection.query('select settlement_watermark() as watermark');
      expect(rows).toEqual([{ watermark: first }]);
      await connection.query('rollback');
    } finally {
      connection.release();
    }
  });

  it('is on the disk with all that was committed before, also if commits do not wait for the disk', async () => {
    const { pool } = database;
    const connection = await pool.connect();
    try {
      await connection.query("set synchronous_commit = 'off'");
      await connection.query('create table committed_before (id integer)');
      const { rows: before } = await connection.query('select pg_current_wal_insert_lsn() as lsn');
      await connection.query('select settlement_watermark()');
      const { rows } = await connection.query('select pg_current_wal_flush_lsn() >= $1 as on_disk', [
        before[0]?.lsn,
      ]);
      expect(rows).toEqual([{ on_disk: true }]);
    } finally {
      connection.release(true);
    }
  });

  // As after pg_restore --no-privileges and npm run migrate, which grants tables.
  it('is read by exports of a role without privileges for sequences', async () => {
    const { pool } = database;
    await pool.query(
      'revoke all on all sequences in schema public from public; grant select on all tables in schema public to pg_monitor',
    );
    const url = new URL(database.url);
    url.searchParams.set('options', '-c role=pg_monitor');
    const other = createPool(url.href, 'test', 1, () => {});
    try {
      const until = await exportLedger(other, { since: new Date(0) }, async () => {});
      expect(until.getTime()).toBeGreaterThan(0);
    } finally {
      await other.end();
    }
  });

  it('a savepoint that is rolled back forgets the time with its lock', async () => {
    const { pool } = database;
    const connection = await pool.connect();
    try {
      await connection.query('begin; savepoint one; select lock_settlement(); rollback to savepoint one');
      const between = (await readSettlementWatermark(pool)).getTime();
      const { rows } = await connection.query<{ at: Date }>('select lock_settlement() as at');
      expect(rows[0]?.at.getTime()).toBeGreaterThanOrEqual(between);
      expect((await readSettlementWatermark(pool)).getTime()).toBe(rows[0]?.at.getTime());
    } finally {
      await connection.query('rollback');
      connection.release();
    }
  });

  // In summer the abbreviation is IST, which PostgreSQL up to 17 reads as the time of Israel, an hour earlier.
  it('all rows of a session that writes times with ambiguous zones have the time of the lock', async () => {
    const { pool } = database;
    const { advertiser } = await addAccount(pool);
    await setDatabaseClock(pool, String(Date.parse('2030-07-01')));
    const before = await readSettlementWatermark(pool);
    await pool.query(
      `begin; set local datestyle = 'German'; set local time zone 'Europe/Dublin';
       insert into budget_entry (advertiser_id, kind, amount_micros, reference)
       select ${advertiser.id}, 'top_up', 1, 'r' || n from generate_series(1, 2) n; commit`,
    );
    const { rows } = await pool.query<{ at: Date }>(
      "select distinct created_at as at from budget_entry where reference like 'r%'",
    );
    expect(rows).toEqual([{ at: before }]);
  });

  it('a transaction that took its lock late is stamped after a watermark that was read before', async () => {
    const { pool } = database;
    const connection = await pool.connect();
    try {
      const before = await readSettlementWatermark(pool);
      await setDatabaseClock(pool, `now_ms - ${HOUR_MS}`);
      await connection.query(`begin; ${lockSettlementAt(String(before.getTime() - HOUR_MS))}`);
      const { rows } = await connection.query<{ at: Date }>('select lock_settlement() as at');
      expect(rows[0]?.at.getTime()).toBeGreaterThanOrEqual(before.getTime());
    } finally {
      await connection.query('rollback');
      connection.release();
    }
  });
});
