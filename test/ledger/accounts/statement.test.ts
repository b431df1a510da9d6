import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DAY_MS } from '../../../common/unix-time.ts';
import { addAdvertiser, listAdvertisers } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../../ledger/accounts/campaigns.ts';
import { readStatement, type Statement } from '../../../ledger/accounts/statement.ts';
import { dropClosedDays } from '../../../ledger/maintenance.ts';
import { dayStart, isoDay } from '../../../ledger/partitions.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch, untilWaitingForLock } from '../../support/charge-batch.ts';
import { addAdTo, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord, type NamedAd } from '../../support/records.ts';
import { until } from '../../support/until.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase({ poolSize: 4 });
});
afterEach(() => database.drop());

const OPTIONS = { clickAgeMaxDays: 10_000 };
const ZONES = [
  'UTC',
  'Asia/Kathmandu',
  'America/St_Johns',
  'America/Havana',
  'Australia/Lord_Howe',
  'Pacific/Kiritimati',
  'Pacific/Pago_Pago',
];

/** Adds an advertiser in a time zone, with two campaigns of an ad each. */
async function addAds(zone: string, budgetMicros: bigint): Promise<NamedAd[]> {
  const advertiser = await addAdvertiser(database.pool, zone, 'EUR', zone);
  await addBudgetEntry(database.pool, advertiser.id, 'top_up', budgetMicros, 'first');
  const ads: NamedAd[] = [];
  for (const price of ['0.25', '1.10']) {
    const campaign = await addCampaign(database.pool, advertiser.id, `Campaign at ${price}`);
    ads.push(await addAdTo(database.pool, campaign, price));
  }
  return ads;
}

/** Lets the ledger accept clicks of these UTC days. */
async function openDays(from: string, to: string): Promise<void> {
  await database.pool.query(
    `select add_partition('ledger', day::date) from generate_series($1::date, $2::date, '1 day') day
     where to_regclass(partition_of('ledger', day::date)) is null`,
    [from, to],
  );
  await database.pool.query('update ledger_window set click_floor = $1, nonce_floor = $1', [from]);
}

/** Brings the rollup up to the last row. */
async function rollUpAll(): Promise<void> {
  const { rows } = await database.pool.query<{ now: Date }>('select clock_timestamp() as now');
  await until('the rollup', async () => (await rollUp(database.pool)) > (rows[0]?.now ?? new Date()));
}

/** Names the month of a time in a time zone without PostgreSQL. */
function monthOf(time: Date, timeZone: string): string {
  const parts = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit' });
  return parts.format(time);
}

type Row = {
  outcome: string;
  reason: string | null;
  charged_micros: bigint;
  campaign_id: number;
  ad_id: number;
  clicked_at: Date;
};
type Entry = {
  kind: string;
  amount_micros: bigint;
  reference: string;
  created_at: Date;
  clicked_at: Date | null;
};

/** All that happened to an advertiser, read row by row. */
async function readHistory(advertiserId: number): Promise<{ rows: Row[]; entries: Entry[] }> {
  const { rows } = await database.pool.query<Row>('select * from ledger where advertiser_id = $1', [
    advertiserId,
  ]);
  const { rows: entries } = await database.pool.query<Entry>(
    `select kind, amount_micros, reference, created_at, clicked_at from budget_entry left join ledger using (click_id)
     where budget_entry.advertiser_id = $1 order by id`,
    [advertiserId],
  );
  return { rows, entries };
}

const sum = (micros: readonly bigint[]) => micros.reduce((total, one) => total + one, 0n);

/** Groups items by a key, in the order of the keys. */
function grouped<T>(items: readonly T[], keyOf: (item: T) => string): [string, T[]][] {
  return Object.entries(Object.groupBy(items, keyOf) as Record<string, T[]>).sort(([a], [b]) =>
    a < b ? -1 : 1,
  );
}

/** The statement of a month, counted row by row. */
function recount({ rows, entries }: { rows: Row[]; entries: Entry[] }, month: string, timeZone: string) {
  const isIn = (time: Date) => monthOf(time, timeZone) === month;
  const isBefore = (time: Date) => monthOf(time, timeZone) < month;
  const clicks = rows.filter(({ clicked_at }) => isIn(clicked_at));
  const invalid = clicks.filter(({ outcome }) => outcome === 'invalid');
  const entered = entries.filter(({ created_at }) => isIn(created_at));
  const openingMicros =
    sum(entries.filter(({ created_at }) => isBefore(created_at)).map((entry) => entry.amount_micros)) -
    sum(rows.filter(({ clicked_at }) => isBefore(clicked_at)).map((row) => row.charged_micros));
  return {
    openingMicros,
    entries: entered
      .filter(({ kind }) => kind !== 'credit')
      .map(({ created_at, kind, amount_micros, reference }) => ({
        at: created_at,
        kind,
        amountMicros: amount_micros,
        reference,
      })),
    charges: grouped(
      clicks.filter(({ outcome }) => outcome === 'charged'),
      ({ ad_id }) => String(ad_id).padStart(10),
    ).map(([, charged]) => ({
      campaignId: charged[0]?.campaign_id,
      adId: charged[0]?.ad_id,
      clicks: BigInt(charged.length),
      amountMicros: sum(charged.map((row) => row.charged_micros)),
    })),
    credits: grouped(
      entered.filter(({ kind }) => kind === 'credit'),
      ({ clicked_at }) => monthOf(clicked_at as Date, timeZone),
    ).map(([clickMonth, credits]) => ({
      month: clickMonth,
      clicks: BigInt(credits.length),
      amountMicros: sum(credits.map((entry) => entry.amount_micros)),
    })),
    closingMicros:
      openingMicros +
      sum(entered.map((entry) => entry.amount_micros)) -
      sum(clicks.map((row) => row.charged_micros)),
    gross: BigInt(clicks.length),
    invalid: grouped(invalid, ({ reason }) => String(reason)).map(([reason, found]) => ({
      reason,
      clicks: BigInt(found.length),
    })),
    net: BigInt(clicks.length - invalid.length),
  };
}

/** The months of the last 75 days in a time zone, oldest first; one more before them. */
function recentMonths(timeZone: string): string[] {
  const now = Date.now();
  const days = Array.from({ length: 110 }, (_, ago) => monthOf(new Date(now - ago * DAY_MS), timeZone));
  return [...new Set(days)].reverse();
}

describe('a statement', () => {
  it('equals a count of all rows in every time zone, continues the month before, and ends with the balance', async () => {
    const today = dayStart(Date.now());
    await openDays(isoDay(today - 80 * DAY_MS), isoDay(today - 10 * DAY_MS));
    const monthStarts = recentMonths('UTC').map((month) => Date.parse(`${month}-01`));
    /** Half of the times lie around the beginning of a month. */
    const someTime = () => {
      const near = monthStarts[Math.floor(Math.random() * monthStarts.length)] as number;
      const time = near + (Math.random() - 0.5) * 1.2 * DAY_MS;
      const isUsable = time > today - 75 * DAY_MS && time < Date.now();
      return Math.floor(
        isUsable && Math.random() < 0.5 ? time : Date.now() - 1 - Math.random() * 75 * DAY_MS,
      );
    };
    for (const zone of ZONES) {
      const ads = await addAds(zone, 30_000_000n);
      const clicks = Array.from({ length: 120 }, () =>
        clickRecord({
          ad: ads[Math.random() < 0.5 ? 0 : 1] as NamedAd,
          clickedAt: someTime(),
          invalid: Math.random() < 0.2 ? (Math.random() < 0.5 ? 'bot' : 'expired') : null,
        }),
      );
      const outcomes = await chargeBatch(database.pool, clicks, OPTIONS);
      const charged = clicks.filter((_, index) => outcomes[index] === 'charged');
      for (const { click } of charged.slice(0, 15)) await creditClick(database.pool, click.clickId);
      const [id] = [ads[0]?.advertiserId as number];
      await addBudgetEntry(database.pool, id, 'adjustment', -1_000_000n, 'correction');
      for (let entry = 0; entry < 5; entry += 1)
        await addBudgetEntry(database.pool, id, 'top_up', 2_000_000n, `invoice ${entry}`);
    }
    const { rows: ids } = await database.pool.query<{ id: bigint }>('select id from budget_entry');
    for (const { id } of ids)
      await database.pool.query('update budget_entry set created_at = $2 where id = $1', [
        id,
        new Date(someTime()),
      ]);
    await rollUpAll();
    const expected = new Map<string, ReturnType<typeof recount>>();
    const compare = async () => {
      let total = 0n;
      const advertisers = await listAdvertisers(database.pool);
      for (const { id, timeZone, remainingMicros } of advertisers) {
        const history = await readHistory(id);
        let previous: Statement | null = null;
        for (const month of recentMonths(timeZone)) {
          const statement = await readStatement(database.pool, id, month);
          const key = `${id} ${month}`;
          const counted = expected.get(key) ?? recount(history, month, timeZone);
          expected.set(key, counted);
          expect(statement).toMatchObject(counted);
          expect(statement.openingMicros).toBe(previous?.closingMicros ?? 0n);
          total += statement.closingMicros - statement.openingMicros;
          previous = statement;
        }
        expect(previous?.closingMicros).toBe(remainingMicros);
      }
      expect(total).toBe(sum(advertisers.map(({ remainingMicros }) => remainingMicros)));
    };
    await compare();
    // The ledger drops its oldest days; the statements stay.
    await database.pool.query('update ledger_window set click_floor = $1, floor_raised_at = now()', [
      isoDay(today - 20 * DAY_MS),
    ]);
    await dropClosedDays(database.pool, silent, 0);
    expect(
      (await database.pool.query('select from ledger where clicked_at < $1', [isoDay(today - 20 * DAY_MS)]))
        .rowCount,
    ).toBe(0);
    await compare();
  }, 120_000);

  it.each([
    // The clocks are set back from 01:00 to 00:00 on the first of the month, so its first hour comes twice.
    [
      'America/Havana',
      '2020-10',
      '2020-11',
      ['2020-11-01T03:59:00Z'],
      ['2020-11-01T04:30:00Z', '2020-11-01T05:30:00Z'],
    ],
    // The clocks are set ahead from 00:00 to 01:00 on the first of the month, so it has no midnight.
    ['America/Asuncion', '2017-09', '2017-10', ['2017-10-01T03:59:00Z'], ['2017-10-01T04:00:00Z']],
  ])(
    'of a month that begins when the clocks change (%s) has the right clicks and entries',
    async (zone, before, month, last, first) => {
      await openDays(`${month}-01`, `${month}-01`);
      const [ad] = await addAds(zone, 10_000_000n);
      const times = [...last, ...first];
      await chargeBatch(
        database.pool,
        times.map((time) => clickRecord({ ad: ad as NamedAd, clickedAt: Date.parse(time) })),
        OPTIONS,
      );
      const id = ad?.advertiserId as number;
      for (const time of times) {
        await addBudgetEntry(database.pool, id, 'top_up', 1_000_000n, time);
        await database.pool.query('update budget_entry set created_at = $1 where reference = $2', [
          time,
          time,
        ]);
      }
      await rollUpAll();
      const references = ({ entries }: Statement) => entries.map(({ reference }) => reference);
      const ended = await readStatement(database.pool, id, before);
      expect(references(ended)).toEqual(last);
      expect(ended.gross).toBe(BigInt(last.length));
      const begun = await readStatement(database.pool, id, month);
      expect(references(begun)).toEqual(first);
      expect(begun.gross).toBe(BigInt(first.length));
    },
  );

  it('has what was entered and settled before its time, and nothing else', async () => {
    const [ad] = await addAds('UTC', 10_000_000n);
    const id = ad?.advertiserId as number;
    const month = new Date().toISOString().slice(0, 7);
    await chargeBatch(database.pool, [clickRecord({ ad: ad as NamedAd })]);
    await rollUpAll();
    const before = await readStatement(database.pool, id, month);
    expect(before).toMatchObject({ closingMicros: 9_750_000n, gross: 1n });
    const later = clickRecord({ ad: ad as NamedAd });
    await chargeBatch(database.pool, [later]);
    await addBudgetEntry(database.pool, id, 'top_up', 1_000_000n, 'later');
    await creditClick(database.pool, later.click.clickId);
    expect(await readStatement(database.pool, id, month)).toEqual(before);
    await rollUpAll();
    expect(await readStatement(database.pool, id, month)).toMatchObject({
      closingMicros: 10_750_000n,
      gross: 2n,
    });
  });

  it('is of one moment, also if a run of the rollup commits while it is read', async () => {
    const [ad] = await addAds('UTC', 10_000_000n);
    const id = ad?.advertiserId as number;
    const month = new Date().toISOString().slice(0, 7);
    await chargeBatch(database.pool, [clickRecord({ ad: ad as NamedAd })]);
    await rollUpAll();
    const before = await readStatement(database.pool, id, month);
    const run = await database.pool.connect();
    try {
      // The statement has read its budget entries when it waits for the names of the campaigns.
      await run.query('begin; lock table campaign in access exclusive mode');
      const reading = readStatement(database.pool, id, month);
      await untilWaitingForLock(database.pool);
      const add = 'update click_rollup_day set clicks = clicks + 1, charged_micros = 2 * charged_micros';
      await run.query(`${add} where advertiser_id = $1`, [id]);
      await run.query('commit');
      expect(await reading).toEqual(before);
    } finally {
      run.release(true);
    }
  });

  it('is refused for an unknown advertiser and a month in the future, and has zeros before there was anything', async () => {
    const [ad] = await addAds('Pacific/Kiritimati', 10_000_000n);
    const id = ad?.advertiserId as number;
    await rollUpAll();
    await expect(readStatement(database.pool, 4_711, '2020-01')).rejects.toMatchObject({
      code: 'unknown_advertiser',
    });
    const thisMonth = monthOf(new Date(), 'Pacific/Kiritimati');
    const nextMonth = monthOf(new Date(Date.parse(`${thisMonth}-15`) + 30 * DAY_MS), 'UTC');
    await expect(readStatement(database.pool, id, nextMonth)).rejects.toMatchObject({
      code: 'bad_time',
      message: `Expected a month up to ${thisMonth}, the current one in Pacific/Kiritimati, got ${nextMonth}`,
    });
    expect(await readStatement(database.pool, id, '1999-12')).toMatchObject({
      openingMicros: 0n,
      entries: [],
      charges: [],
      credits: [],
      closingMicros: 0n,
      gross: 0n,
      invalid: [],
      net: 0n,
    });
  });
});
