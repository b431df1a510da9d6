import { errorCode } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool, uuidArray } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import type { SettledClick } from '../charge/ledger-rows.ts';
import { dayStart, isoDay, listPartitionDays, partitionName } from '../partitions.ts';
import { inServerTimeZone } from '../server-time-zones.ts';
import { readSettlementWatermark } from '../settlement-watermark.ts';

/**
 * The span of settlement times that one transaction adds: after a long stop the rollup catches up in pieces, and credits wait for one of them. At
 * 50 000 clicks/s, the first span takes about 3 s.
 */
const FIRST_SPAN_MS = 60_000;
const SPAN_MS_MAX = 600_000;
/** Shortest span. With a shorter one, transactions whose duration does not depend on the span would hardly move the rollup forward. */
const SPAN_MS_MIN = 10_000;
/** A transaction that works for less than this, in ms, makes the next span twice as long. */
const SHORT_MS = 500;
/** A transaction that works for longer than this, in ms, makes the next span half as long. */
const LONG_MS = 2_000;
/** The span that is skipped at once if nothing was settled in it: an installation that stood still for weeks has thousands of empty spans. */
const EMPTY_SPAN_MS = DAY_MS;
/** Longest wait for the lock that summarizing an index needs, in ms: vacuum can hold it for minutes. */
const SUMMARIZE_WAIT_MS = 50;
/** SQLSTATE: a lock was not available in time. */
const LOCK_NOT_AVAILABLE = '55P03';
/**
 * Days before the day of a span that are always read. A transaction lists the days before yesterday that it settles clicks of in
 * `click_rollup_late_day`, and lasts less than a day.
 */
const UNLISTED_DAYS = 2;

/**
 * Adds everything that was settled since the last run to the rollup, up to the settlement watermark. Returns the time that it is true
 * for: all clicks that were settled before it are in the rollup, and no other. Any number of processes can call it; one works at a time. Throws
 * `bad_time_zone` if the database server does not know the time zone of an advertiser.
 */
export async function rollUp(pool: Pool): Promise<Date> {
  await summarizeIndexes(pool);
  let [spanMs, isEmpty] = [FIRST_SPAN_MS, false];
  for (;;) {
    // Before the transaction: every statement below sees all rows that are stamped before it.
    const watermark = await readSettlementWatermark(pool);
    const span = inTransaction(pool, (connection) => addSpan(connection, watermark, spanMs, isEmpty));
    const added = await inServerTimeZone(span);
    if (added.isDone) return added.rolledTo;
    if (added.workedMs < SHORT_MS) spanMs = Math.min(2 * spanMs, SPAN_MS_MAX);
    else if (added.workedMs > LONG_MS) spanMs = Math.max(spanMs / 2, SPAN_MS_MIN);
    isEmpty = added.isEmpty;
  }
}

type AddedSpan = {
  readonly rolledTo: Date;
  readonly isDone: boolean;
  /** Whether nothing was settled in it. */
  readonly isEmpty: boolean;
  /** Without the wait for credits and other runs. */
  readonly workedMs: number;
};

/** `isAfterEmpty`: nothing was settled in the span before, so the next day may be empty as well. */
async function addSpan(
  connection: Connection,
  watermark: Date,
  spanMs: number,
  isAfterEmpty: boolean,
): Promise<AddedSpan> {
  const { rolledTo: from } = await lockState(connection);
  const startedAt = performance.now();
  const after = (ms: number) => new Date(Math.min(watermark.getTime(), from.getTime() + ms));
  // The watermark can be below the one of the last run, or of another run that was faster.
  if (after(spanMs) <= from) return { rolledTo: from, isDone: true, isEmpty: true, workedMs: 0 };
  const days = await listUnrolledDays(connection, from);
  const isSkipped = isAfterEmpty && (await isNothingSettled(connection, days, from, after(EMPTY_SPAN_MS)));
  const to = after(isSkipped ? EMPTY_SPAN_MS : spanMs);
  let isEmpty = true;
  await connection.query(PLANNED);
  for (const day of isSkipped ? [] : days) if (await addDay(connection, day, from, to)) isEmpty = false;
  await connection.query('delete from click_rollup_late_day where settled_at < $1', [to]);
  await connection.query('update click_rollup_state set rolled_to = $1', [to]);
  const workedMs = performance.now() - startedAt;
  return { rolledTo: to, isDone: to.getTime() === watermark.getTime(), isEmpty, workedMs };
}

/** Whether no click of these days was settled in [from, to). */
async function isNothingSettled(
  connection: Connection,
  days: readonly number[],
  from: Date,
  to: Date,
): Promise<boolean> {
  await connection.query(PLANNED);
  for (const day of days) {
    const { rows } = await connection.query(
      `select from ${partitionName('ledger', day)} where settled_at >= $1 and settled_at < $2 limit 1`,
      [from, to],
    );
    if (rows.length > 0) return false;
  }
  return true;
}

/**
 * Returns the days that clicks which were settled since `from` can belong to, in Unix ms. A transaction lists its late days after it has
 * inserted their clicks, so a day can be listed after the end of a span with its clicks: no listed day with rows is left out.
 */
export async function listUnrolledDays(connection: Connection, from: Date): Promise<number[]> {
  const { rows } = await connection.query<{ day: string }>(
    'select distinct day::text from click_rollup_late_day',
  );
  const late = new Set(rows.map(({ day }) => Date.parse(day)));
  const first = dayStart(from.getTime()) - UNLISTED_DAYS * DAY_MS;
  const days = (await listPartitionDays(connection, 'ledger')).filter((day) => day >= first || late.has(day));
  return leaveOutEmpty(connection, days);
}

/** Leaves out the days whose partition has no page yet: partitions are created a week ahead. */
async function leaveOutEmpty(connection: Connection, days: readonly number[]): Promise<number[]> {
  const { rows } = await connection.query<{ day: string }>(
    `select day from unnest($1::text[], $2::text[]) partition (day, name) where pg_relation_size(to_regclass(name)) > 0`,
    [days.map(String), days.map((day) => partitionName('ledger', day))],
  );
  const used = new Set(rows.map(({ day }) => Number(day)));
  return days.filter((day) => used.has(day));
}

const KEYS = 'advertiser_id, campaign_id, ad_id, publisher, outcome, reason';

/**
 * Settings of a transaction that reads days. Statistics lag behind a table that grows: the planner could choose a scan of the whole day, and with
 * the default memory it sorts the rows on disk instead of hashing them, which takes twice the time.
 */
const PLANNED = "set local enable_seqscan = off; set local work_mem = '32MB'";

/**
 * Adds the rows of a day that were settled in [from, to); without `to`, from `from` on. Returns whether there were any. The transaction has the
 * settings `PLANNED`.
 */
async function addDay(connection: Connection, day: number, from: Date, to?: Date): Promise<boolean> {
  const { rowCount } = await connection.query(
    `with fresh as materialized (
       select date_bin('15 minutes', clicked_at, 'epoch') as quarter, advertiser_id, campaign_id, ad_id,
         coalesce(publisher, '') as publisher, outcome, coalesce(reason, '') as reason, count(*) as clicks, bigint_sum(charged_micros) as charged_micros
       from ${partitionName('ledger', day)} where settled_at >= $1 and settled_at < coalesce($2, 'infinity'::timestamptz)
       group by 1, 2, 3, 4, 5, 6, 7
     ), quarters as (
       insert into click_rollup as rollup (quarter, ${KEYS}, clicks, charged_micros)
       select quarter, ${KEYS}, clicks, charged_micros from fresh
       on conflict (advertiser_id, quarter, campaign_id, ad_id, publisher, outcome, reason) do update set
         clicks = rollup.clicks + excluded.clicks, charged_micros = rollup.charged_micros + excluded.charged_micros
     )
     insert into click_rollup_day as rollup (day, ${KEYS}, clicks, charged_micros)
     select (quarter at time zone time_zone)::date, ${KEYS}, bigint_sum(clicks), bigint_sum(charged_micros)
     from fresh join advertiser on advertiser.id = advertiser_id group by 1, ${KEYS}
     on conflict (advertiser_id, day, campaign_id, ad_id, publisher, outcome, reason) do update set
       clicks = rollup.clicks + excluded.clicks, charged_micros = rollup.charged_micros + excluded.charged_micros`,
    [from, to ?? null],
  );
  return rowCount !== 0;
}

/**
 * Lets the block range indexes of the days since yesterday, or since the day before the last run, cover their new blocks. In transactions of
 * its own, because each holds a lock that keeps vacuum away from the partition. If a vacuum is at work there, it covers the blocks itself at
 * its end.
 */
async function summarizeIndexes(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ day: string }>(
    `select day::date::text from click_rollup_state,
       generate_series(least(current_date, rolled_to::date) - 1, current_date + 1, '1 day') day
     where pg_relation_size(to_regclass(partition_of('ledger', day::date))) > 0`,
  );
  for (const { day } of rows) {
    await inTransaction(pool, async (connection) => {
      await connection.query(`set local lock_timeout = ${SUMMARIZE_WAIT_MS}`);
      await connection.query('select summarize_day($1)', [day]);
    }).catch((error: unknown) => {
      if (errorCode(error) !== LOCK_NOT_AVAILABLE) throw error;
    });
  }
}

/** Adds the rest of a day that the caller's transaction drops. No other transaction may settle clicks of that day any more. */
export async function rollUpDroppedDay(connection: Connection, day: number): Promise<void> {
  const { rolledTo } = await lockState(connection);
  await connection.query(PLANNED);
  await addDay(connection, day, rolledTo);
}

/** Credits of several clicks hold it in shared mode, runs and drops of days in exclusive mode. Held until the end of the transaction. */
const TURN = "hashtext('tollway rollup')";

async function lockState(connection: Connection): Promise<{ rolledTo: Date }> {
  // Credits queue behind it. Without it they would pass a run that waits for the row: one after the other, they would keep runs out for ever.
  await connection.query(`select pg_advisory_xact_lock(${TURN})`);
  const { rows } = await connection.query<{ rolledTo: Date }>(
    'select rolled_to as "rolledTo" from click_rollup_state for update',
  );
  const [state] = rows;
  if (!state) throw new Error('Expected one row in click_rollup_state, got none. Run npm run migrate');
  return state;
}

/**
 * Stores the days of clicks that are settled in the caller's transaction and that a rollup does not read by itself. `settledAt`: the
 * time that they are stamped with; `earliestMs`: the time of the earliest click; both in Unix ms.
 */
export async function recordLateDays(
  connection: Connection,
  settledAt: number,
  earliestMs: number,
  settled: readonly SettledClick[],
): Promise<void> {
  const yesterday = dayStart(settledAt) - DAY_MS;
  if (earliestMs >= yesterday) return;
  const late = new Set<number>();
  for (const { record } of settled)
    if (record.click.clickedAt < yesterday) late.add(dayStart(record.click.clickedAt));
  await connection.query('insert into click_rollup_late_day (day) select unnest($1::date[])', [
    [...late].map(isoDay),
  ]);
}

/**
 * Keeps runs, and drops of days, out until the end of the transaction. For a transaction that credits several clicks: a run takes the rows of
 * the rollup in another order, and they could deadlock. Call it before the locks of advertisers: no charge waits while this waits for a run,
 * and a run that waits for this does not block the transactions for which this would wait. `readCampaignSpend` locks the row of the state
 * instead, after an advertiser: it does not queue behind a run that waits.
 */
export async function holdRollup(connection: Connection): Promise<void> {
  await connection.query(`select pg_advisory_xact_lock_shared(${TURN})`);
}

/**
 * Adds the credits of charged clicks, different ones, to the rollup, in the transaction that enters the credits. For more than one click, call
 * `holdRollup` before. Throws if the ledger lacks one of the clicks, and `bad_time_zone` if the database server does not know the time zone of
 * one of the advertisers.
 */
export async function addCreditsToRollup(connection: Connection, clickIds: readonly string[]): Promise<void> {
  const add = connection.query<{ clicks: bigint }>(
    `with click as materialized (
       select date_bin('15 minutes', clicked_at, 'epoch') as quarter, advertiser_id, campaign_id, ad_id, coalesce(publisher, '') as publisher, outcome,
         '' as reason, count(*) as clicks, bigint_sum(charged_micros) as micros
       from ledger where click_id = any($1::uuid[]) group by 1, 2, 3, 4, 5, 6
     ), quarters as (
       insert into click_rollup as rollup (quarter, ${KEYS}, clicks, charged_micros, credited_clicks, credited_micros)
       select quarter, ${KEYS}, 0, 0, clicks, micros from click
       on conflict (advertiser_id, quarter, campaign_id, ad_id, publisher, outcome, reason) do update set
         credited_clicks = rollup.credited_clicks + excluded.credited_clicks, credited_micros = rollup.credited_micros + excluded.credited_micros
     ), days as (
       insert into click_rollup_day as rollup (day, ${KEYS}, clicks, charged_micros, credited_clicks, credited_micros)
       select (quarter at time zone time_zone)::date, ${KEYS}, 0, 0, bigint_sum(clicks), bigint_sum(micros)
       from click join advertiser on advertiser.id = advertiser_id group by 1, ${KEYS}
       on conflict (advertiser_id, day, campaign_id, ad_id, publisher, outcome, reason) do update set
         credited_clicks = rollup.credited_clicks + excluded.credited_clicks, credited_micros = rollup.credited_micros + excluded.credited_micros
     )
     select coalesce(bigint_sum(clicks), 0) as clicks from click`,
    [uuidArray(clickIds)],
  );
  const { rows } = await inServerTimeZone(add);
  if (Number(rows[0]?.clicks) !== clickIds.length)
    throw new Error(
      `Expected the ledger to have ${clickIds.length} clicks, got ${rows[0]?.clicks}: ${clickIds.slice(0, 5)}`,
    );
}

/**
 * Computes the rollup again from the days that the ledger has; older days and credits stay. For sums that `reconcile --deep` reports as
 * wrong. Runs and credits wait for each day, which takes about a second for a million clicks.
 */
export async function rebuildRollup(pool: Pool): Promise<void> {
  for (const day of await inTransaction(pool, (connection) => listPartitionDays(connection, 'ledger')))
    await inTransaction(pool, (connection) => rebuildDay(connection, day));
  await inTransaction(pool, rebuildDaySums);
}

/** Blocks credits and other runs until the end of the transaction. */
const LOCK_ROLLUP = 'lock table click_rollup, click_rollup_day in share row exclusive mode';

async function rebuildDay(connection: Connection, day: number): Promise<void> {
  const { rolledTo } = await lockState(connection);
  // It can have been dropped since the days were listed, and its sums are all that is left of it.
  if (!(await listPartitionDays(connection, 'ledger')).includes(day)) return;
  await connection.query(LOCK_ROLLUP);
  await connection.query(
    'update click_rollup set clicks = 0, charged_micros = 0 where quarter >= $1 and quarter < $2',
    [new Date(day), new Date(day + DAY_MS)],
  );
  await connection.query(
    `insert into click_rollup (quarter, ${KEYS}, clicks, charged_micros)
     select date_bin('15 minutes', clicked_at, 'epoch'), advertiser_id, campaign_id, ad_id, coalesce(publisher, ''), outcome,
       coalesce(reason, ''), count(*), sum(charged_micros)
     from ${partitionName('ledger', day)} where settled_at < $1 group by 1, 2, 3, 4, 5, 6, 7
     on conflict (advertiser_id, quarter, campaign_id, ad_id, publisher, outcome, reason) do update set
       clicks = excluded.clicks, charged_micros = excluded.charged_micros`,
    [rolledTo],
  );
}

async function rebuildDaySums(connection: Connection): Promise<void> {
  await lockState(connection);
  await connection.query(LOCK_ROLLUP);
  await connection.query('delete from click_rollup_day');
  // A trigger adds the clicks of the new rows to `click_rollup_total`.
  await connection.query('delete from click_rollup_total');
  await connection.query(
    `insert into click_rollup_day (day, ${KEYS}, clicks, charged_micros, credited_clicks, credited_micros)
     select (quarter at time zone time_zone)::date, ${KEYS}, sum(clicks), sum(charged_micros), sum(credited_clicks), sum(credited_micros)
     from click_rollup join advertiser on advertiser.id = advertiser_id group by 1, ${KEYS}`,
  );
}
