import type { TollwayError } from '../common/errors.ts';
import { arrayLiteral, type Connection, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import {
  clockStepError,
  DAY_MS,
  databaseTime,
  dayStart,
  extendPartitions,
  isoDay,
  listPartitionDays,
  partitionName,
  type Retention,
} from './partitions.ts';
import { formatMultirange } from './sequence-ranges.ts';
import {
  addCounters,
  COUNTER_COLUMNS,
  NIL_SPOOL_ID,
  type SpoolCounterRow,
  type SpoolCounters,
} from './spool-counters.ts';

/** How long a floor leads the drop of its day: a charge transaction lives seconds. */
const FLOOR_LEAD_MS = 3_600_000;
/** How long a detach may hold up the charges behind it, in ms; with a long reader before it, it is tried again later. */
const DETACH_WAIT_MS = 250;
/** Most days that a floor rises by in one run: one day a day, and what a processor that was off for some days has missed. */
const FLOOR_STEP_DAYS_MAX = 3;
/** Counter rows merged in one transaction. */
const MERGE_ROWS_MAX = 1_000;
/** Chunks of the broker deleted in one transaction. */
const DELETE_CHUNKS_MAX = 1_000;

export type MaintenanceOptions = Retention & {
  readonly ledgerRetentionDays: number;
  readonly brokerRetentionDays: number;
};

/**
 * What a scheduled task does every minute. Each step is a transaction of its own and may run anywhere, twice. Throws `clock_step` where
 * the server's clock or a setting asks for a step that is too large; for a floor, after the other steps are done.
 */
export async function maintain(
  pool: Pool,
  options: MaintenanceOptions,
  logger: Logger,
  givenMs?: number,
): Promise<void> {
  const nowMs = givenMs ?? (await inTransaction(pool, databaseTime));
  await createDayPartitions(pool, options, nowMs);
  await mergeSpoolCounters(pool);
  await deleteSettledChunks(pool, options.brokerRetentionDays);
  const refusal = await raiseFloors(pool, options, nowMs);
  await dropClosedDays(pool, logger);
  if (refusal !== null) throw refusal;
}

/** Makes the partitions that the clicks of these days need. To be done once before the first click is taken. */
export async function createDayPartitions(pool: Pool, options: Retention, givenMs?: number): Promise<void> {
  await inTransaction(pool, async (connection) =>
    extendPartitions(connection, options, givenMs ?? (await databaseTime(connection))),
  );
}

/** Folds the counters that batches appended into one total a spool. Resolves when there are none left. */
export async function mergeSpoolCounters(pool: Pool): Promise<void> {
  for (;;) {
    const merged = await inTransaction(pool, mergeSomeSpoolCounters);
    if (merged < MERGE_ROWS_MAX) return;
  }
}

async function mergeSomeSpoolCounters(connection: Connection): Promise<number> {
  // One merger at a time, so that two never want the same totals in different orders.
  await connection.query("select pg_advisory_xact_lock(hashtext('tollway spool counters'))");
  const { rows } = await connection.query<SpoolCounterRow>(
    `delete from spool_counter where id in (select id from spool_counter order by id limit ${MERGE_ROWS_MAX})
     returning ${COUNTER_COLUMNS}`,
  );
  await addToTotals(connection, rows);
  return rows.length;
}

/** Folds all that batches appended for one spool into its total. In a transaction of the caller, who keeps other mergers out with it. */
export async function mergeCountersOfSpool(connection: Connection, spoolId: string): Promise<void> {
  await connection.query("select pg_advisory_xact_lock(hashtext('tollway spool counters'))");
  const { rows } = await connection.query<SpoolCounterRow>(
    `delete from spool_counter where spool_id = $1 returning ${COUNTER_COLUMNS}`,
    [spoolId],
  );
  await addToTotals(connection, rows);
}

async function addToTotals(connection: Connection, rows: readonly SpoolCounterRow[]): Promise<void> {
  const counters = new Map<string, SpoolCounters>();
  addCounters(counters, rows);
  const merged = [...counters];
  const column = (pick: (counter: SpoolCounters) => number) =>
    arrayLiteral(merged.map(([, counter]) => pick(counter)));
  await connection.query(
    `insert into spool_total as total (spool_id, accepted, charged, over_budget, invalid, rejected, sequences)
     select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
       $7::int8multirange[])
     on conflict (spool_id) do update set
       accepted = greatest(total.accepted, excluded.accepted),
       charged = total.charged + excluded.charged,
       over_budget = total.over_budget + excluded.over_budget,
       invalid = total.invalid + excluded.invalid,
       rejected = total.rejected + excluded.rejected,
       sequences = total.sequences + excluded.sequences`,
    [
      arrayLiteral(merged.map(([spoolId]) => spoolId)),
      column((counter) => counter.accepted),
      column((counter) => counter.charged),
      column((counter) => counter.overBudget),
      column((counter) => counter.invalid),
      column((counter) => counter.rejected),
      merged.map(([, counter]) => formatMultirange(counter.settled)),
    ],
  );
}

/** Deletes what the Postgres broker has kept long enough. */
async function deleteSettledChunks(pool: Pool, retentionDays: number): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      `delete from broker_chunk where id in (
         select id from (select id, settled_at from broker_chunk order by id limit $2) oldest
         where settled_at < now() - make_interval(days => $1)
       )`,
      [retentionDays, DELETE_CHUNKS_MAX],
    );
    if ((rowCount ?? 0) < DELETE_CHUNKS_MAX) return;
  }
}

/**
 * Raises the floors past the days that are to be dropped, and remembers when. From now on the handler takes no id
 * below; the drop comes later, when no transaction can be left that still did. Returns the refusal of a step that is too large: what
 * lies below a floor can never be charged again, so a clock that has jumped ahead must not raise it.
 */
async function raiseFloors(
  pool: Pool,
  options: MaintenanceOptions,
  nowMs: number,
): Promise<TollwayError | null> {
  const clickFloor = dayStart(nowMs) - options.ledgerRetentionDays * DAY_MS;
  const nonceFloor = dayStart(nowMs) - (options.clickAgeDays + options.linkLifeDays) * DAY_MS;
  const { rows } = await pool.query<{ click_floor: Date; nonce_floor: Date }>(
    'select click_floor, nonce_floor from ledger_window',
  );
  for (const [name, from, to] of [
    ['the ledger', rows[0]?.click_floor.getTime() ?? clickFloor, clickFloor],
    ['spent nonces', rows[0]?.nonce_floor.getTime() ?? nonceFloor, nonceFloor],
  ] as const) {
    const stepDays = (to - from) / DAY_MS;
    if (stepDays <= FLOOR_STEP_DAYS_MAX || options.acceptsStep) continue;
    return clockStepError(
      `This run would close ${stepDays} days of ${name}, from ${isoDay(from)} to ${isoDay(to)} (at most ${FLOOR_STEP_DAYS_MAX} a run)`,
      nowMs,
      ', LEDGER_RETENTION_DAYS, CLICK_AGE_MAX_DAYS and LINK_LIFE_MAX_DAYS',
    );
  }
  await pool.query(
    `update ledger_window set
       click_floor = greatest(click_floor, $1), nonce_floor = greatest(nonce_floor, $2), floor_raised_at = now()
     where click_floor < $1 or nonce_floor < $2`,
    [new Date(clickFloor), new Date(nonceFloor)],
  );
  return null;
}

/**
 * Carries the sums of the days below the floor forward and drops them, a day a transaction, once the floor has
 * stood for an hour.
 */
export async function dropClosedDays(pool: Pool, logger: Logger, leadMs = FLOOR_LEAD_MS): Promise<void> {
  const { rows } = await pool.query<{ click_floor: Date; nonce_floor: Date }>(
    'select click_floor, nonce_floor from ledger_window where floor_raised_at <= now() - make_interval(secs => $1)',
    [leadMs / 1_000],
  );
  const [floors] = rows;
  if (!floors) return;
  for (const [table, floor] of [
    ['ledger', floors.click_floor],
    ['spent_nonce', floors.nonce_floor],
  ] as const) {
    const days = await inTransaction(pool, (connection) => listPartitionDays(connection, table));
    for (const day of days.filter((start) => start + DAY_MS <= floor.getTime())) {
      await inTransaction(pool, (transaction) => dropDay(transaction, table, day));
      logger.info({ table, day: new Date(day).toISOString().slice(0, 10) }, 'A day was closed and dropped');
    }
  }
}

async function dropDay(
  connection: Connection,
  table: 'ledger' | 'spent_nonce',
  dayMs: number,
): Promise<void> {
  await connection.query("select pg_advisory_xact_lock(hashtext('tollway partitions'))");
  const days = await listPartitionDays(connection, table);
  if (!days.includes(dayMs)) return; // another processor was here
  if (table === 'ledger') await carryForward(connection, partitionName(table, dayMs), dayMs);
  // Detaching waits for the transactions at work, and those that follow wait behind it.
  await connection.query(`set local lock_timeout = ${DETACH_WAIT_MS}`);
  await connection.query('select drop_partition($1, $2)', [table, isoDay(dayMs)]);
}

async function carryForward(connection: Connection, partition: string, dayMs: number): Promise<void> {
  const day = new Date(dayMs).toISOString().slice(0, 10);
  await connection.query(
    `insert into closed_day (day, advertiser_id, campaign_id, outcome, clicks, charged_micros)
     select $1, advertiser_id, campaign_id, outcome, count(*), sum(charged_micros) from ${partition}
     group by advertiser_id, campaign_id, outcome`,
    [day],
  );
  await connection.query(
    `insert into closed_day_spool (day, spool_id, outcome, clicks)
     select $1, coalesce(spool_id, '${NIL_SPOOL_ID}'), outcome, count(*) from ${partition} group by 2, outcome`,
    [day],
  );
}
