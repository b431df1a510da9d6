import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postgresBacklog } from '../../../brokers/postgres/backlog.ts';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../../ledger/accounts/campaigns.ts';
import { BEGIN_CHARGE } from '../../../ledger/charge-locks.ts';
import { dropClosedDays } from '../../../ledger/maintenance.ts';
import { dayStart, isoDay } from '../../../ledger/partitions.ts';
import { reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import {
  REPORT_KEYS,
  type ReportFilter,
  type ReportRow,
  readReport,
} from '../../../ledger/reports/report.ts';
import { listUnrolledDays, rebuildRollup, rollUp } from '../../../ledger/reports/rollup.ts';
import { readSettlementWatermark } from '../../../ledger/settlement-watermark.ts';
import { settle } from '../../../processor/charge/charge-clicks.ts';
import { chargeBatch, untilWaitingForLock } from '../../support/charge-batch.ts';
import { addAdTo, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { lockSettlementAt } from '../../support/database-clock.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord, type NamedAd } from '../../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase({ poolSize: 10 });
});
afterEach(() => database.drop());

const ZONES = ['UTC', 'Asia/Kathmandu', 'America/New_York'];
const OPTIONS = { clickAgeMaxDays: 10_000 };

/** An advertiser for each time zone, with two ads. */
async function addAds(budget = 1_000_000_000n): Promise<NamedAd[]> {
  const ads: NamedAd[] = [];
  for (const zone of ZONES) {
    const advertiser = await addAdvertiser(database.pool, zone, 'USD', zone);
    await addBudgetEntry(database.pool, advertiser.id, 'top_up', budget);
    const campaign = await addCampaign(database.pool, advertiser.id, 'Test');
    ads.push(await addAdTo(database.pool, campaign, '0.25'), await addAdTo(database.pool, campaign, '1.10'));
  }
  return ads;
}

/** Counts the same from the ledger and the credits, row by row. */
async function recount({ since, until, by, timeZone = 'UTC' }: ReportFilter): Promise<unknown[]> {
  const columns = {
    hour: `(clicked_at - make_interval(mins => extract(minute from clicked_at at time zone $3)::int,
      secs => extract(second from clicked_at at time zone $3))) as "hour"`,
    day: '(clicked_at at time zone $3)::date::text as "day"',
    advertiser: 'ledger.advertiser_id as "advertiserId"',
    campaign: 'campaign_id as "campaignId"',
    ad: 'ad_id as "adId"',
    publisher: 'publisher',
    outcome: 'outcome::text as "outcome"',
    reason: 'reason as "reason"',
  };
  const keys = REPORT_KEYS.filter((key) => by.includes(key));
  const { rows } = await database.pool.query(
    `select ${keys.map((key) => `${columns[key]}, `).join('')} currency, count(*) as clicks, sum(charged_micros)::bigint as "chargedMicros",
       sum(charged_micros - coalesce(amount_micros, 0))::bigint as "correctedMicros"
     from ledger join advertiser on advertiser.id = ledger.advertiser_id left join budget_entry using (click_id)
     where clicked_at >= ${bound(since, 1)} and clicked_at < ${bound(until, 2)} and $3::text is not null
     group by ${[...keys.map((_, index) => index + 1), keys.length + 1].join(', ')}`,
    [since, until, timeZone],
  );
  return rows;
}

function bound(time: Date | string, parameter: number): string {
  return typeof time === 'string'
    ? `$${parameter}::date::timestamp at time zone $3`
    : `$${parameter}::timestamptz`;
}

const inOrder = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row, sorted)).sort();

function sorted(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function expectExact(filter: ReportFilter): Promise<readonly ReportRow[]> {
  const { rows } = await readReport(database.pool, filter);
  expect(inOrder(rows)).toEqual(inOrder(await recount(filter)));
  return rows;
}

/** Every combination of keys that differs in how it is summed, in each time zone. */
async function expectAllExact(since: Date | string, until: Date | string): Promise<void> {
  for (const timeZone of ZONES) {
    for (const by of [
      ['day'],
      ['hour', 'ad'],
      ['day', 'campaign', 'ad', 'publisher', 'outcome', 'reason'],
      ['advertiser'],
    ] as const)
      await expectExact({ since, until, timeZone, by });
  }
}

/** Moves the start of the ledger back, so that clicks of these days are accepted. */
async function openDays(from: string, to: string): Promise<void> {
  await database.pool.query(
    `select add_partition('ledger', day::date) from generate_series($1::date, $2::date, '1 day') day`,
    [from, to],
  );
  await database.pool.query('update ledger_window set click_floor = $1, nonce_floor = $1', [from]);
}

describe('the rollup', () => {
  it('equals a count of the ledger after any sequence of charges, credits and runs', async () => {
    const ads = await addAds(40_000_000n);
    const charged: string[] = [];
    for (let round = 0; round < 25; round += 1) {
      const clicks = Array.from({ length: 12 }, () =>
        clickRecord({
          ad: ads[Math.floor(Math.random() * ads.length)] as NamedAd,
          clickedAt: Date.now() - Math.floor(Math.random() ** 3 * 13 * DAY_MS),
          invalid: Math.random() < 0.2 ? 'bot' : null,
          publisher: [null, 'example-news', 'example-mail'][Math.floor(Math.random() * 3)] ?? null,
        }),
      );
      const outcomes = await chargeBatch(database.pool, clicks);
      charged.push(
        ...clicks.flatMap(({ click }, index) => (outcomes[index] === 'charged' ? click.clickId : [])),
      );
      if (Math.random() < 0.3) await rollUp(database.pool);
      const [credited] = charged.splice(Math.floor(Math.random() * charged.length), 1);
      if (credited && Math.random() < 0.5) await creditClick(database.pool, credited);
    }
    await rollUp(database.pool);
    const today = dayStart(Date.now());
    await expectAllExact(new Date(today - 15 * DAY_MS), new Date(today + 2 * DAY_MS));
    await expectAllExact(new Date(today - 3 * DAY_MS + 8 * 3_600_000), new Date(today - DAY_MS + 900_000));
    await expectAllExact(
      new Date(today - 5 * DAY_MS).toISOString().slice(0, 10),
      new Date(today + DAY_MS).toISOString().slice(0, 10),
    );
  }, 60_000);

  it('has days of 23 and 25 hours where the clocks change', async () => {
    await openDays('2025-03-08', '2025-03-10');
    await openDays('2025-11-01', '2025-11-03');
    await database.pool.query("update ledger_window set click_floor = '2025-03-08'");
    const ad = (await addAds()).at(-1) as NamedAd;
    const everyHour = (from: string, hours: number) =>
      Array.from({ length: hours }, (_, hour) =>
        clickRecord({ ad, clickedAt: Date.parse(from) + hour * 3_600_000 + 120_000 }),
      );
    await chargeBatch(
      database.pool,
      [...everyHour('2025-03-09T00:00:00Z', 40), ...everyHour('2025-11-02T00:00:00Z', 40)],
      OPTIONS,
    );
    await rollUp(database.pool);
    await expectAllExact('2025-03-09', '2025-03-10');
    await expectAllExact('2025-11-02', '2025-11-03');
    const timeZone = 'America/New_York';
    const count = async (since: string, until: string, by: 'day' | 'hour') => {
      const { rows } = await readReport(database.pool, { since, until, timeZone, by: [by] });
      return rows.map(({ clicks }) => Number(clicks));
    };
    expect(await count('2025-03-09', '2025-03-10', 'day')).toEqual([23]);
    expect(await count('2025-11-02', '2025-11-03', 'day')).toEqual([25]);
    expect(await count('2025-11-02', '2025-11-03', 'hour')).toEqual(Array.from({ length: 25 }, () => 1));
  });

  it('adds each click once if eight processes run it while clicks are settled', async () => {
    const ads = await addAds();
    let over = false;
    const runners = Array.from({ length: 4 }, async () => {
      while (!over) await rollUp(database.pool);
    });
    const writers = ads.slice(0, 4).map(async (ad, index) => {
      for (let round = 0; round < 8; round += 1) {
        const connection = await database.pool.connect();
        await connection.query(BEGIN_CHARGE);
        await connection.query('select pg_sleep($1)', [((round * 7 + index * 3) % 10) / 100]);
        await settle(
          connection,
          Array.from({ length: 5 }, () => clickRecord({ ad })),
          OPTIONS,
        );
        await connection.query('select pg_sleep($1)', [((round * 3 + index * 7) % 10) / 100]);
        await connection.query('commit');
        connection.release();
      }
    });
    await Promise.all(writers);
    over = true;
    await Promise.all(runners);
    await rollUp(database.pool);
    const today = dayStart(Date.now());
    const period = { since: new Date(today - DAY_MS), until: new Date(today + 2 * DAY_MS) };
    const rows = await expectExact({ ...period, by: ['ad'] });
    expect(rows.map(({ clicks }) => clicks)).toEqual([40n, 40n, 40n, 40n]);
  }, 60_000);

  it('never goes back, though the settlement watermark can be lower than at the last run', async () => {
    const [ad] = await addAds();
    await chargeBatch(database.pool, [clickRecord({ ad: ad as NamedAd })]);
    const first = await rollUp(database.pool);
    const settling = await database.pool.connect();
    // A transaction that has read the time before the run, and takes its lock only now.
    await settling.query(`begin; ${lockSettlementAt(String(first.getTime() - 1))}`);
    const watermark = await readSettlementWatermark(database.pool);
    expect(watermark.getTime()).toBeLessThan(first.getTime());
    expect(await rollUp(database.pool)).toEqual(first);
    await settling.query('rollback');
    settling.release();
    await rollUp(database.pool);
    const today = dayStart(Date.now());
    await expectExact({ since: new Date(today - DAY_MS), until: new Date(today + 2 * DAY_MS), by: ['ad'] });
  });

  it('holds nothing that was settled at or after its time', async () => {
    const [ad, , ofAnother] = await addAds();
    const connection = await database.pool.connect();
    await connection.query(BEGIN_CHARGE);
    // Another user agent: a charge waits for the commit of a transaction that has inserted the text of its own.
    await settle(connection, [clickRecord({ ad: ad as NamedAd, userAgent: 'Another (test)' })], OPTIONS);
    await chargeBatch(database.pool, [clickRecord({ ad: ofAnother as NamedAd })]);
    const asOf = await rollUp(database.pool);
    const today = dayStart(Date.now());
    const period = {
      since: new Date(today - DAY_MS),
      until: new Date(today + 2 * DAY_MS),
      by: ['day'],
    } as const;
    const before = await readReport(database.pool, period);
    expect(before.asOf).toEqual(asOf);
    const { rows } = await database.pool.query('select from ledger where settled_at < $1', [asOf]);
    expect(before.rows.map(({ clicks }) => Number(clicks)).reduce((sum, count) => sum + count, 0)).toBe(
      rows.length,
    );
    await connection.query('commit');
    connection.release();
    await rollUp(database.pool);
    await expectExact(period);
  });

  it('reads the days that have clicks, not the partitions that are ready for later ones', async () => {
    const [ad] = await addAds();
    if (!ad) throw new Error('Expected an ad, got none');
    const yesterday = dayStart(Date.now()) - DAY_MS;
    const unrolled = () =>
      inTransaction(database.pool, (connection) => listUnrolledDays(connection, new Date()));
    await chargeBatch(database.pool, [clickRecord({ ad, clickedAt: yesterday + DAY_MS })]);
    expect(await unrolled()).toEqual([yesterday + DAY_MS]);
    await chargeBatch(database.pool, [clickRecord({ ad, clickedAt: yesterday })]);
    expect(await unrolled()).toEqual([yesterday, yesterday + DAY_MS]);
  });

  it('reads a late day that was listed after the watermark, for clicks that were settled before it', async () => {
    const [ad] = await addAds();
    const clickedAt = Date.now() - 5 * DAY_MS;
    await chargeBatch(database.pool, [clickRecord({ ad: ad as NamedAd, clickedAt })], OPTIONS);
    const settling = await database.pool.connect();
    await settling.query(BEGIN_CHARGE);
    const watermark = (await readSettlementWatermark(database.pool)).getTime();
    // The rows of a transaction are stamped one after the other, and the watermark can fall between them.
    await database.pool.query('update ledger set settled_at = $1', [new Date(watermark - 1)]);
    await database.pool.query('update click_rollup_late_day set settled_at = $1', [new Date(watermark + 1)]);
    expect((await rollUp(database.pool)).getTime()).toBe(watermark);
    await settling.query('rollback');
    settling.release();
    await rollUp(database.pool);
    const today = dayStart(Date.now());
    const period = { since: new Date(today - 7 * DAY_MS), until: new Date(today + DAY_MS) };
    expect(await expectExact({ ...period, by: ['ad'] })).toHaveLength(1);
  });

  it('keeps a day that the ledger drops, with clicks that no run had added', async () => {
    await openDays('2025-11-02', '2025-11-02');
    const ads = await addAds();
    const clickedAt = Date.parse('2025-11-02T09:00:00Z');
    await chargeBatch(
      database.pool,
      ads.map((ad) => clickRecord({ ad, clickedAt })),
      OPTIONS,
    );
    await rollUp(database.pool);
    await chargeBatch(
      database.pool,
      ads.map((ad) => clickRecord({ ad, clickedAt })),
      OPTIONS,
    );
    const filter = { since: '2025-11-02', until: '2025-11-03', by: ['ad'] } as const;
    const expected = await recount(filter);
    await database.pool.query("update ledger_window set click_floor = '2025-11-03', floor_raised_at = now()");
    await dropClosedDays(database.pool, silent, 0);
    expect((await database.pool.query("select from ledger where clicked_at < '2025-11-03'")).rowCount).toBe(
      0,
    );
    await rollUp(database.pool);
    expect(inOrder((await readReport(database.pool, filter)).rows)).toEqual(inOrder(expected));
    expect(expected).toHaveLength(ads.length);
  });

  it.each([
    [
      'click_rollup',
      'clicks = clicks + 1',
      /^rollup of ad \d+ of publisher example-news at .* \(charged\): stored 3 clicks, 500000 micros, the ledger has 2/,
    ],
    [
      'click_rollup',
      'charged_micros = charged_micros + 1',
      /^rollup of ad \d+ of publisher example-news at .*: stored 2 clicks, 500001 micros/,
    ],
    [
      'click_rollup',
      'credited_micros = credited_micros + 1, credited_clicks = 2',
      /^rollup of credits of advertiser \d+: stored 2 clicks/,
    ],
    [
      'click_rollup_day',
      'clicks = clicks - 1',
      /^rollup by day of ad \d+ of publisher example-news on .*: stored 1 clicks/,
    ],
    [
      'click_rollup_total',
      'invalid = invalid + 1',
      /^rollup of all days of advertiser \d+ \(invalid\): stored 1 clicks, the ledger has 0 clicks/,
    ],
    [
      'click_rollup',
      "publisher = 'example-mail'",
      /^rollup of ad \d+ of publisher example-mail at .*: stored 2 clicks/,
    ],
    [
      'click_rollup_day',
      "publisher = ''",
      /^rollup by day of ad \d+ of publisher example-news on .*: stored 0 clicks, 0 micros, the ledger has 2/,
    ],
  ])('that is wrong is found by a deep reconciliation: %s, %s', async (table, change, problem) => {
    const [ad] = await addAds();
    const clicks = [1, 2].map(() => clickRecord({ ad: ad as NamedAd, publisher: 'example-news' }));
    await chargeBatch(database.pool, clicks);
    await rollUp(database.pool);
    await creditClick(database.pool, clicks[0]?.click.clickId ?? '');
    const problems = async () =>
      (await reconcile(database.pool, { brokers: [postgresBacklog], deep: true })).problems;
    expect(await problems()).toEqual([]);
    await database.pool.query(`update ${table} set ${change}`);
    expect(await problems()).toContainEqual(expect.stringMatching(problem));
  });

  it('is right again after it is rebuilt, with clicks that it lacked, and with credits', async () => {
    const ads = await addAds();
    await rollUp(database.pool);
    const clicks = ads.map((ad) => clickRecord({ ad }));
    await chargeBatch(database.pool, clicks);
    await database.pool.query("update ledger set settled_at = settled_at - interval '1 hour'");
    await rollUp(database.pool);
    await creditClick(database.pool, clicks[0]?.click.clickId ?? '');
    const problems = async () =>
      (await reconcile(database.pool, { brokers: [postgresBacklog], deep: true })).problems;
    expect(await problems()).not.toEqual([]);
    await rebuildRollup(database.pool);
    expect(await problems()).toEqual([]);
    await chargeBatch(database.pool, [clickRecord({ ad: ads[0] as NamedAd })]);
    await rollUp(database.pool);
    expect(await problems()).toEqual([]);
    const today = dayStart(Date.now());
    await expectAllExact(new Date(today - DAY_MS), new Date(today + 2 * DAY_MS));
  });

  it('keeps the sums of a day that is dropped while it is rebuilt', async () => {
    const [ad] = await addAds();
    const dayMs = dayStart(Date.now()) - 3 * DAY_MS;
    await chargeBatch(database.pool, [clickRecord({ ad: ad as NamedAd, clickedAt: dayMs })]);
    await rollUp(database.pool);
    const sums = async () =>
      (await database.pool.query('select clicks, charged_micros from click_rollup where clicks > 0')).rows;
    const before = await sums();
    expect(before).toHaveLength(1);
    const holder = await database.pool.connect();
    try {
      await holder.query('begin; select from click_rollup_state for update');
      const rebuilt = rebuildRollup(database.pool);
      await untilWaitingForLock(database.pool);
      await holder.query('select drop_partition($1, $2)', ['ledger', isoDay(dayMs)]);
      await holder.query('commit');
      await rebuilt;
    } finally {
      holder.release(true);
    }
    expect(await sums()).toEqual(before);
  });
});
