import { arrayLiteral, BEGIN, type Connection } from '../common/postgres/postgres.ts';
import { LOCK_SETTLEMENT } from './settlement-watermark.ts';

/** Longest wait of most transactions for a lock, in seconds. */
const LOCK_SECONDS = 12;

/**
 * Begins a transaction that locks advertisers and waits at most `lockSeconds` for each lock. `lock_timeout` ends a long wait on the server; with a timeout of the client alone, the
 * server process would stay in the lock queue. `idle_in_transaction_session_timeout` releases the locks of a client that has stopped.
 * https://www.postgresql.org/docs/18/runtime-config-client.html#RUNTIME-CONFIG-CLIENT-STATEMENT
 *
 * It takes the settlement lock first: see `readSettlementWatermark`.
 *
 * Parallel plans are off: for nonces of many days the planner would start workers and copy thousands of ids into the plan of each.
 */
export function beginCharge(lockSeconds = LOCK_SECONDS): string {
  return `${BEGIN}; set local lock_timeout = '${lockSeconds}s'; set local idle_in_transaction_session_timeout = '15s';
  set local max_parallel_workers_per_gather = 0; ${LOCK_SETTLEMENT}`;
}

/** `beginCharge` with the usual wait. */
export const BEGIN_CHARGE = beginCharge();

/** The balance of an advertiser whose row is locked. */
export type AdvertiserBalance = {
  readonly remainingMicros: bigint;
  readonly maxPriceMicros: bigint;
  /** The next threshold of `budget.low`; `null` if none is left. */
  readonly lowBudgetMicros: bigint | null;
  readonly currency: string;
  /** Whether a load test made it. */
  readonly isTest: boolean;
};

/**
 * Locks advertisers until the end of the transaction, in ascending order of id so that transactions cannot deadlock. The result lacks ids
 * that do not exist. If the query waited for a row, it returns the values that the other transaction committed (`READ COMMITTED`, one
 * table, no join).
 */
export async function lockAdvertisers(
  connection: Connection,
  ids: readonly number[],
): Promise<Map<number, AdvertiserBalance>> {
  const { rows } = await connection.query<{
    id: number;
    remaining_micros: bigint;
    max_price_micros: bigint;
    low_budget_micros: bigint | null;
    currency: string;
    is_test: boolean;
  }>({
    name: 'lock advertisers',
    text: `select id, remaining_micros, max_price_micros, low_budget_micros, currency, is_test
     from advertiser where id = any($1::integer[]) order by id for no key update`,
    values: [arrayLiteral(ids)],
  });
  return new Map(
    rows.map((row) => [
      row.id,
      {
        remainingMicros: row.remaining_micros,
        maxPriceMicros: row.max_price_micros,
        lowBudgetMicros: row.low_budget_micros,
        currency: row.currency,
        isTest: row.is_test,
      },
    ]),
  );
}

/** Locks spools until the end of the transaction, in shared mode: for a batch in which every record with a spool id is a click. */
export function lockSpoolsShared(connection: Connection, spoolIds: readonly string[]): Promise<void> {
  return lockSpools(connection, spoolIds, 'pg_advisory_xact_lock_shared');
}

/**
 * Locks spools until the end of the transaction, in exclusive mode: for a batch with an unreadable record under the key of a click.
 * Without it two concurrent transactions could settle one sequence, one by the click and one by the unreadable record.
 */
export function lockSpoolsExclusive(connection: Connection, spoolIds: readonly string[]): Promise<void> {
  return lockSpools(connection, spoolIds, 'pg_advisory_xact_lock');
}

async function lockSpools(
  connection: Connection,
  spoolIds: readonly string[],
  lock: 'pg_advisory_xact_lock' | 'pg_advisory_xact_lock_shared',
): Promise<void> {
  if (spoolIds.length === 0) return;
  await connection.query({
    name: lock,
    text: `select ${lock}(hashtextextended(spool_id, 0)) from unnest($1::text[]) spool_id`,
    values: [arrayLiteral([...spoolIds].sort())],
  });
}

/** Blocks inserts into `ad` until the end of the transaction, so that an ad that is unknown now stays unknown until the commit. */
export async function blockNewAds(connection: Connection): Promise<void> {
  // This mode conflicts with itself. With a weaker one, two transactions could both hold it and then deadlock when they update budget
  // flags.
  await connection.query('lock table ad in share row exclusive mode');
}
