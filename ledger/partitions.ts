import type { Config } from '../common/config/config.ts';
import { TollwayError } from '../common/errors.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';
import { DAY_MS } from '../common/unix-time.ts';
import { uuidV7TimeMs } from '../common/uuid.ts';

/** Number of days after today that have partitions. */
export const AHEAD_DAYS = 7;

/** The tables that are partitioned by the UTC time of their UUIDv7 key: `spent_nonce` by month, the others by day. */
export const PARTITIONED = ['ledger', 'spent_nonce', 'click_evidence'] as const;
/** The name of a partitioned table. */
export type Partitioned = (typeof PARTITIONED)[number];

/** Returns the start of the UTC day of a time; both in Unix ms. */
export function dayStart(timeMs: number): number {
  return Math.floor(timeMs / DAY_MS) * DAY_MS;
}

/** Returns the start of the partition that has a time, and the start of the next one; all in Unix ms. */
export function partitionBounds(table: Partitioned, timeMs: number): { startMs: number; endMs: number } {
  const startMs = dayStart(timeMs);
  if (table !== 'spent_nonce') return { startMs, endMs: startMs + DAY_MS };
  const time = new Date(timeMs);
  const [year, month] = [time.getUTCFullYear(), time.getUTCMonth()];
  return { startMs: Date.UTC(year, month, 1), endMs: Date.UTC(year, month + 1, 1) };
}

/** Returns the name of the partition that has a time, such as `ledger_20260131` or `spent_nonce_20260101`. */
export function partitionName(table: Partitioned, timeMs: number): string {
  return `${table}_${isoDay(partitionBounds(table, timeMs).startMs).replaceAll('-', '')}`;
}

/** Ids of one partition, which has the times from `startMs` to before `endMs`. */
type IdsOfPartition = {
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly ids: string[];
};

/** Groups UUIDv7s by the partition that has their time. Omits ids with a time outside [floorMs, aheadMs). */
export function groupByPartition(
  table: Partitioned,
  ids: readonly string[],
  floorMs: number,
  aheadMs: number,
): IdsOfPartition[] {
  const groups: IdsOfPartition[] = [];
  for (const id of ids) {
    const timeMs = uuidV7TimeMs(id);
    if (timeMs < floorMs || timeMs >= aheadMs) continue;
    let group = groups.find(({ startMs, endMs }) => timeMs >= startMs && timeMs < endMs);
    if (group === undefined) {
      group = { name: partitionName(table, timeMs), ...partitionBounds(table, timeMs), ids: [] };
      groups.push(group);
    }
    group.ids.push(id);
  }
  return groups;
}

/** Returns the first day in a partition's name, in Unix ms. */
export function partitionDay(name: string): number {
  const [, year, month, day] = /_(\d{4})(\d{2})(\d{2})$/.exec(name) ?? [];
  return Date.UTC(Number(year), Number(month) - 1, Number(day));
}

/** Returns the first days of the partitions of a table, ascending, in Unix ms. */
export async function listPartitionDays(connection: Connection, table: Partitioned): Promise<number[]> {
  const { rows } = await connection.query<{ relname: string }>(
    'select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::regclass',
    [table],
  );
  return rows.map((row) => partitionDay(row.relname)).sort((a, b) => a - b);
}

/** Returns how many days after today, by UTC and the database's clock, clicks can be charged for; less than 0 if not even today. */
export async function countDaysAhead(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ days: number }>(
    `select coalesce(min(latest) - (now() at time zone 'UTC')::date, -1) as days from (
       select (partition_bounds(parent::text, max(right(relname, 8)::date)))[2] - 1 as latest
       from unnest('{ledger,spent_nonce}'::regclass[]) parent
       left join (pg_inherits join pg_class on pg_class.oid = inhrelid) on inhparent = parent group by parent
     ) tables`,
  );
  return rows[0]?.days ?? -1;
}

/** Creates the missing partitions of [fromMs, toMs). The caller holds the advisory lock of `extendPartitions`. */
async function createPartitions(connection: Connection, table: Partitioned, fromMs: number, toMs: number) {
  const existing = new Set(await listPartitionDays(connection, table));
  const days: string[] = [];
  for (let timeMs = fromMs; timeMs < toMs; ) {
    const { startMs, endMs } = partitionBounds(table, timeMs);
    if (!existing.has(startMs)) days.push(isoDay(startMs));
    timeMs = endMs;
  }
  if (days.length > 0) {
    await connection.query('select add_partition($1, day) from unnest($2::date[]) day', [table, days]);
  }
}

/** Returns the UTC day of a time in Unix ms, such as `2026-01-31`. */
export function isoDay(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

/**
 * Most days of partitions that one run adds after the latest one. A larger step means that maintenance has not run for that long, or that
 * the server's clock has jumped. It does not apply to a database without partitions.
 */
const AHEAD_STEP_DAYS_MAX = 100;

/** The settings that determine which days need partitions, in days. */
export type Retention = {
  /** CLICK_AGE_MAX_DAYS: greatest age of a click when it arrives. */
  readonly clickAgeDays: number;
  /** LINK_LIFE_MAX_DAYS: greatest age of a nonce at the time of its click. */
  readonly linkLifeDays: number;
  /** EVIDENCE_RETENTION_DAYS: days before today whose evidence is kept; with 0 no evidence is kept. */
  readonly evidenceDays: number;
  /** Whether to allow a step of any size, because an operator has checked the clock of the database server. */
  readonly acceptsStep?: boolean;
};

/** Returns the settings that determine the partitions. */
export function retentionOf(config: Config): Retention {
  return {
    clickAgeDays: config.CLICK_AGE_MAX_DAYS,
    linkLifeDays: config.LINK_LIFE_MAX_DAYS,
    evidenceDays: config.EVIDENCE_RETENTION_DAYS,
  };
}

/**
 * Creates the partitions for today and the next `AHEAD_DAYS` days, then extends `ledger_window` to them, so that every id inside the
 * window has a partition. Creates the window if it does not exist. Runs in the caller's transaction. Throws `clock_step`.
 */
export async function extendPartitions(
  connection: Connection,
  { clickAgeDays, linkLifeDays, evidenceDays, acceptsStep = false }: Retention,
  nowMs: number,
) {
  // One process at a time. The lock is released at the end of the transaction.
  await connection.query("select pg_advisory_xact_lock(hashtext('tollway partitions'))");
  const ahead = dayStart(nowMs) + (AHEAD_DAYS + 1) * DAY_MS;
  const clickFloor = dayStart(nowMs) - clickAgeDays * DAY_MS;
  const nonceFloor = clickFloor - linkLifeDays * DAY_MS;
  const { rowCount: inserted } = await connection.query(
    `insert into ledger_window (click_floor, click_ahead, nonce_floor, nonce_ahead)
     values ($1, $1, $2, $2) on conflict do nothing`,
    [new Date(clickFloor), new Date(nonceFloor)],
  );
  const { rows } = await connection.query<{ click_ahead: Date; nonce_ahead: Date }>(
    'select click_ahead, nonce_ahead from ledger_window',
  );
  const [window] = rows;
  if (!window) throw new Error('Expected one row in ledger_window, got none');
  const stepDays = (ahead - window.click_ahead.getTime()) / DAY_MS;
  if (inserted === 0 && stepDays > AHEAD_STEP_DAYS_MAX && !acceptsStep) {
    throw clockStepError(
      `This run would create ${stepDays} days of partitions, up to ${isoDay(ahead)} (at most ${AHEAD_STEP_DAYS_MAX} a run)`,
      nowMs,
    );
  }
  await createPartitions(connection, 'ledger', window.click_ahead.getTime(), ahead);
  await createPartitions(connection, 'spent_nonce', window.nonce_ahead.getTime(), ahead);
  await connection.query(
    'update ledger_window set click_ahead = greatest(click_ahead, $1), nonce_ahead = greatest(nonce_ahead, $1)',
    [new Date(ahead)],
  );
  if (evidenceDays > 0)
    await extendEvidence(connection, dayStart(nowMs) - evidenceDays * DAY_MS, clickFloor, ahead);
}

/**
 * Creates the partitions of `click_evidence` up to `aheadMs` and lowers the floor of evidence to the first of them. Unlike the other floors
 * it can go down, when EVIDENCE_RETENTION_DAYS was raised: from `keptFromMs` on, but not below the days that a click can have when it arrives
 * (`clickFloorMs`) and those that still have a partition.
 */
async function extendEvidence(
  connection: Connection,
  keptFromMs: number,
  clickFloorMs: number,
  aheadMs: number,
): Promise<void> {
  const [oldestMs = clickFloorMs] = await listPartitionDays(connection, 'click_evidence');
  const fromMs = Math.max(keptFromMs, Math.min(oldestMs, clickFloorMs));
  await createPartitions(connection, 'click_evidence', fromMs, aheadMs);
  await connection.query(
    'update ledger_window set evidence_floor = $1 where evidence_floor is null or evidence_floor > $1',
    [new Date(fromMs)],
  );
}

/** The error `clock_step`: a step so large that the clock is wrong or a setting was changed. `what` says what the run would do. */
export function clockStepError(what: string, nowMs: number, settings = ''): TollwayError {
  return new TollwayError(
    'clock_step',
    `${what}, so it did not. Check the clock of the database server (${new Date(nowMs).toISOString()})${settings}. ` +
      'If the step is correct, run npx tollway maintain --accept-step',
    { retryable: true },
  );
}

/** Returns the database's time, in Unix ms. Floors never go down, so they must not depend on the clock of a client. */
export async function databaseTime(connection: Connection): Promise<number> {
  const { rows } = await connection.query<{ now: Date }>('select now()');
  return rows[0]?.now.getTime() ?? 0;
}
