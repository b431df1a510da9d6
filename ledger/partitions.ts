import type { Config } from '../common/config/config.ts';
import { TollwayError } from '../common/errors.ts';
import type { Connection } from '../common/postgres/postgres.ts';

export const DAY_MS = 86_400_000;
/** Days that have their partition before they begin. */
export const AHEAD_DAYS = 7;

/** The tables that are partitioned by day of their id. */
export const PARTITIONED = ['ledger', 'spent_nonce'] as const;
export type Partitioned = (typeof PARTITIONED)[number];

/** The start of the UTC day of a time, in Unix ms. */
export function dayStart(timeMs: number): number {
  return Math.floor(timeMs / DAY_MS) * DAY_MS;
}

/** The name of a day's partition: `ledger_20260131`. */
export function partitionName(table: Partitioned, dayMs: number): string {
  return `${table}_${new Date(dayMs).toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/** The day of a partition's name, in Unix ms. */
export function partitionDay(name: string): number {
  const [, year, month, day] = /_(\d{4})(\d{2})(\d{2})$/.exec(name) ?? [];
  return Date.UTC(Number(year), Number(month) - 1, Number(day));
}

/** Reads which days a table has partitions for, ascending, in Unix ms. */
export async function listPartitionDays(connection: Connection, table: Partitioned): Promise<number[]> {
  const { rows } = await connection.query<{ relname: string }>(
    'select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::regclass',
    [table],
  );
  return rows.map((row) => partitionDay(row.relname)).sort((a, b) => a - b);
}

/**
 * Makes the partitions of every day in [from, to) that has none. Safe beside others that do the same:
 * the caller holds the lock of `extendPartitions`.
 */
async function createPartitions(connection: Connection, table: Partitioned, fromMs: number, toMs: number) {
  const existing = new Set(await listPartitionDays(connection, table));
  const days: string[] = [];
  for (let day = dayStart(fromMs); day < toMs; day += DAY_MS) {
    if (!existing.has(day)) days.push(isoDay(day));
  }
  if (days.length > 0) {
    await connection.query('select add_partition($1, day) from unnest($2::date[]) day', [table, days]);
  }
}

/** The UTC day of a time, such as `2026-01-31`. */
export function isoDay(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

/**
 * Most days that one run makes ahead of those there are, in a database that has some. More means that nothing was maintained for so long,
 * or that the server's clock has jumped.
 */
const AHEAD_STEP_DAYS_MAX = 100;

export type Retention = {
  /** CLICK_AGE_MAX_DAYS: how old a click may be when it arrives. */
  readonly clickAgeDays: number;
  /** LINK_LIFE_MAX_DAYS: nonces are this much older than their clicks at most. */
  readonly linkLifeDays: number;
  /** Whether an operator has checked the clock of the database server: then a step of any size is taken. */
  readonly acceptsStep?: boolean;
};

/** The part of the settings that partitions follow from. */
export function retentionOf(config: Config): Retention {
  return { clickAgeDays: config.CLICK_AGE_MAX_DAYS, linkLifeDays: config.LINK_LIFE_MAX_DAYS };
}

/**
 * Makes the partitions that are needed now and some days ahead, and then widens the window to them: an id
 * inside the window always has its partition. The floors only ever rise. Runs in a transaction of the caller. Throws `clock_step`.
 */
export async function extendPartitions(
  connection: Connection,
  { clickAgeDays, linkLifeDays, acceptsStep = false }: Retention,
  nowMs: number,
) {
  // One at a time; released with the transaction.
  await connection.query("select pg_advisory_xact_lock(hashtext('tollway partitions'))");
  const ahead = dayStart(nowMs) + (AHEAD_DAYS + 1) * DAY_MS;
  const clickFloor = dayStart(nowMs) - clickAgeDays * DAY_MS;
  const nonceFloor = clickFloor - linkLifeDays * DAY_MS;
  const { rowCount: begun } = await connection.query(
    `insert into ledger_window (click_floor, click_ahead, nonce_floor, nonce_ahead)
     values ($1, $1, $2, $2) on conflict do nothing`,
    [new Date(clickFloor), new Date(nonceFloor)],
  );
  const { rows } = await connection.query<{ click_ahead: Date; nonce_ahead: Date }>(
    'select click_ahead, nonce_ahead from ledger_window',
  );
  const [window] = rows;
  if (!window) throw new Error('Expected a row in ledger_window');
  const stepDays = (ahead - window.click_ahead.getTime()) / DAY_MS;
  if (begun === 0 && stepDays > AHEAD_STEP_DAYS_MAX && !acceptsStep) {
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
}

/** The refusal of a step that only a wrong clock, or a setting that was changed, explains; `what` says what would happen. */
export function clockStepError(what: string, nowMs: number, settings = ''): TollwayError {
  return new TollwayError(
    'clock_step',
    `${what}: nothing was changed. Check the clock of the database server, which says ${new Date(nowMs).toISOString()}${settings}; ` +
      'if it is right, run npx tollway maintain --accept-step',
    { retryable: true },
  );
}

/** The database's time, in Unix ms: floors only ever rise, so no process's own clock may move them. */
export async function databaseTime(connection: Connection): Promise<number> {
  const { rows } = await connection.query<{ now: Date }>('select now()');
  return rows[0]?.now.getTime() ?? 0;
}
