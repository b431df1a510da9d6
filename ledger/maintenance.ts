import { errorCode, type TollwayError } from '../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { DAY_MS } from '../common/unix-time.ts';
import { deleteUnusedUserAgents } from './charge/user-agents.ts';
import {
  clockStepError,
  databaseTime,
  dayStart,
  extendPartitions,
  isoDay,
  listPartitionDays,
  PARTITIONED,
  type Partitioned,
  partitionBounds,
  partitionName,
  type Retention,
} from './partitions.ts';
import { rollUp, rollUpDroppedDay } from './reports/rollup.ts';
import { NIL_SPOOL_ID } from './spools/counters.ts';
import { mergeSpoolCounters } from './spools/merge-counters.ts';
import { deleteOldSeenDuplicates } from './spools/seen-duplicates.ts';

/** Time between raising a floor and dropping the partitions below it, in ms. Charge transactions, which last seconds, end in this time. */
const FLOOR_LEAD_MS = 3_600_000;
/**
 * Longest wait for the lock to detach a partition, in ms: charges queue behind it. If a long reader holds the lock, a later run retries.
 */
const DETACH_WAIT_MS = 250;
/** Most days that one run raises a floor by: one day is usual, more after some days without a running processor. */
const FLOOR_STEP_DAYS_MAX = 3;
/** Most chunks of the Postgres broker deleted in one transaction. */
const DELETE_CHUNKS_MAX = 1_000;

export type MaintenanceOptions = Retention & {
  readonly ledgerRetentionDays: number;
  readonly brokerRetentionDays: number;
};

/**
 * Maintains the ledger: creates partitions, merges spool counters, brings the rollup up to date, deletes settled chunks, raises the floors,
 * drops partitions below them, and deletes unused texts of user agents and old duplicates. The maintenance loop of the processor or a
 * scheduled function calls it. Each step has its own transactions; it is safe to repeat and to run in several processes at once. `givenMs`
 * replaces the database's time (Unix ms). Throws `clock_step` if the clock of the database server or a setting requires a step that is too
 * large; if the step is one of a floor, after the other steps are done. Throws `bad_time_zone` if the database server does not know the
 * time zone of an advertiser, so that the rollup cannot be brought up to date: after the other steps, which keep the days of the ledger,
 * because a day is dropped after it was rolled up.
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
  const zoneError = await rollUp(pool).then(() => null, badTimeZone);
  await deleteSettledChunks(pool, options.brokerRetentionDays);
  const stepError = await raiseFloors(pool, options, nowMs);
  await dropClosedDays(pool, logger, FLOOR_LEAD_MS, zoneError === null ? PARTITIONED : NOT_ROLLED_UP);
  await deleteUnusedUserAgents(pool);
  await deleteOldSeenDuplicates(pool);
  const error = stepError ?? zoneError;
  if (error !== null) throw error;
  await pool.query('update ledger_window set maintained_at = statement_timestamp()');
}

/** Returns an error `bad_time_zone`; throws any other. */
function badTimeZone(error: unknown): unknown {
  if (errorCode(error) === 'bad_time_zone') return error;
  throw error;
}

/** Creates missing partitions for the days that clicks can have now and soon. Must run once before the first click is charged. */
export async function createDayPartitions(pool: Pool, options: Retention, givenMs?: number): Promise<void> {
  await inTransaction(pool, async (connection) =>
    extendPartitions(connection, options, givenMs ?? (await databaseTime(connection))),
  );
}

/**
 * Deletes chunks of the Postgres broker that were settled more than `retentionDays` days ago. It goes through the chunks in the order of their
 * ids, so that a chunk that is never settled holds none of the later ones, and ends at the first page that was published within that time:
 * nothing in it or behind it can have been settled before.
 */
async function deleteSettledChunks(pool: Pool, retentionDays: number): Promise<void> {
  for (let after: bigint | null = 0n; after !== null; ) {
    const { rows }: { rows: { next: bigint | null }[] } = await pool.query(
      `with page as (select id, published_at, settled_at from broker_chunk where id > $2 order by id limit $3),
         limits as (select now() - make_interval(days => $1) as before),
         deleted as (delete from broker_chunk where id in (select id from page, limits where settled_at < before))
       select case when count(*) = $3 and min(published_at) < (select before from limits) then max(id) end as next from page`,
      [retentionDays, after, DELETE_CHUNKS_MAX],
    );
    after = rows[0]?.next ?? null;
  }
}

type Floors = {
  readonly click_floor: Date;
  readonly nonce_floor: Date;
  /** `null`: no evidence is kept. */
  readonly evidence_floor: Date | null;
};

/**
 * Raises the floors above the days to drop and stores the time. From then on the handler rejects ids below a floor; the days are dropped
 * later, when every transaction that read the old floor has ended. Returns an error if the step is too large: clicks below a floor can
 * never be charged, so a clock that jumped ahead must not raise it.
 */
async function raiseFloors(
  pool: Pool,
  options: MaintenanceOptions,
  nowMs: number,
): Promise<TollwayError | null> {
  if (options.evidenceDays === 0)
    await pool.query(
      'update ledger_window set evidence_floor = null, floor_raised_at = now() where evidence_floor is not null',
    );
  const clickFloor = dayStart(nowMs) - options.ledgerRetentionDays * DAY_MS;
  const nonceFloor = dayStart(nowMs) - (options.clickAgeDays + options.linkLifeDays) * DAY_MS;
  const evidenceFloor = dayStart(nowMs) - options.evidenceDays * DAY_MS;
  const { rows } = await pool.query<Floors>(
    'select click_floor, nonce_floor, evidence_floor from ledger_window',
  );
  for (const [name, from, to] of [
    ['the ledger', rows[0]?.click_floor.getTime() ?? clickFloor, clickFloor],
    ['spent nonces', rows[0]?.nonce_floor.getTime() ?? nonceFloor, nonceFloor],
    ['evidence', rows[0]?.evidence_floor?.getTime() ?? evidenceFloor, evidenceFloor],
  ] as const) {
    const stepDays = (to - from) / DAY_MS;
    if (stepDays <= FLOOR_STEP_DAYS_MAX || options.acceptsStep) continue;
    return clockStepError(
      `This run would close ${stepDays} days of ${name}, from ${isoDay(from)} to ${isoDay(to)} (at most ${FLOOR_STEP_DAYS_MAX} a run)`,
      nowMs,
      ', LEDGER_RETENTION_DAYS, EVIDENCE_RETENTION_DAYS, CLICK_AGE_MAX_DAYS and LINK_LIFE_MAX_DAYS',
    );
  }
  await pool.query(
    `update ledger_window set
       click_floor = greatest(click_floor, $1), nonce_floor = greatest(nonce_floor, $2),
       evidence_floor = case when evidence_floor is not null then greatest(evidence_floor, $3) end, floor_raised_at = now()
     where click_floor < $1 or nonce_floor < $2 or evidence_floor < $3`,
    [new Date(clickFloor), new Date(nonceFloor), new Date(evidenceFloor)],
  );
  return null;
}

/** The partitioned tables whose rows are in no rollup. */
const NOT_ROLLED_UP = PARTITIONED.filter((table) => table !== 'ledger');

/**
 * Drops the partitions of `tables` below the floors, one transaction each, and stores the sums of the ledger's rows in `closed_day` and
 * `closed_day_spool`.
 * Does nothing until `leadMs` after a floor was last raised.
 */
export async function dropClosedDays(
  pool: Pool,
  logger: Logger,
  leadMs = FLOOR_LEAD_MS,
  tables: readonly Partitioned[] = PARTITIONED,
): Promise<void> {
  for (const table of tables) {
    const closed = await inTransaction(pool, (connection) => listClosedDays(connection, table, leadMs));
    for (const day of closed) {
      const isDropped = await inTransaction(pool, (transaction) =>
        dropPartition(transaction, table, day, leadMs),
      );
      if (isDropped) logger.info({ table, firstDay: isoDay(day) }, 'A partition below its floor was dropped');
    }
  }
}

/** The first days of the partitions below the floor, in Unix ms; none until `leadMs` after a floor was last raised. */
async function listClosedDays(connection: Connection, table: Partitioned, leadMs: number): Promise<number[]> {
  const { rows } = await connection.query<Floors>(
    `select click_floor, nonce_floor, evidence_floor from ledger_window
     where floor_raised_at <= now() - make_interval(secs => $1)`,
    [leadMs / 1_000],
  );
  const [floors] = rows;
  if (!floors) return [];
  const { click_floor: ledger, nonce_floor: spent_nonce, evidence_floor: click_evidence } = floors;
  // Without a floor of evidence, all of it is dropped.
  const floorMs = { ledger, spent_nonce, click_evidence }[table]?.getTime() ?? Number.POSITIVE_INFINITY;
  return (await listPartitionDays(connection, table)).filter(
    (day) => partitionBounds(table, day).endMs <= floorMs,
  );
}

/** Drops the partition that begins with a day, unless another process has dropped it, or has lowered the floor of evidence since. */
async function dropPartition(
  connection: Connection,
  table: Partitioned,
  dayMs: number,
  leadMs: number,
): Promise<boolean> {
  await connection.query("select pg_advisory_xact_lock(hashtext('tollway partitions'))");
  if (!(await listClosedDays(connection, table, leadMs)).includes(dayMs)) return false;
  if (table === 'ledger') {
    await insertClosedDay(connection, partitionName(table, dayMs), dayMs);
    await rollUpDroppedDay(connection, dayMs);
  }
  // The detach waits for open transactions, and new transactions queue behind it.
  await connection.query(`set local lock_timeout = ${DETACH_WAIT_MS}`);
  await connection.query('select drop_partition($1, $2)', [table, isoDay(dayMs)]);
  return true;
}

async function insertClosedDay(connection: Connection, partition: string, dayMs: number): Promise<void> {
  const day = isoDay(dayMs);
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
  await connection.query(
    `update ledger_window set settled_floor =
       greatest(settled_floor, (select max(settled_at) + interval '1 microsecond' from ${partition}))`,
  );
}
