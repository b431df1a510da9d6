import { TollwayError } from '../common/errors.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';

/** First key of the advisory locks that settling transactions hold. */
const LOCK_CLASS = 826_366_246;
/** 2020-01-01 in Unix seconds. The second key is the number of seconds since then, which fits 32 bits until 2088. */
const LOCK_EPOCH_SECONDS = 1_577_836_800;

/**
 * SQL for the advisory lock that a transaction takes before it inserts into `ledger`, `dead_letter` or `budget_entry`. It is shared, so no
 * transaction waits for it; its second key is the current second. Send it in an earlier message than the inserts: rows
 * are stamped with `statement_timestamp()`, the time at which the server received their message.
 */
export const LOCK_SETTLEMENT = `select pg_advisory_xact_lock_shared(${LOCK_CLASS}, (floor(extract(epoch from clock_timestamp()))::int8 - ${LOCK_EPOCH_SECONDS})::int4)`;

/**
 * Returns the settlement watermark: all rows of `ledger`, `dead_letter` and `budget_entry` that are stamped before it are visible to a
 * snapshot that is taken after this call. It is the current time or, if transactions are settling, the second in which the oldest of them
 * took its lock. A later call can therefore return up to a second less than an earlier one; callers keep the higher. Rounded down to
 * milliseconds. Throws `replica` on a standby server, which does not know the locks of its primary.
 *
 * It is exact because a transaction takes its lock before its rows are stamped. If the lock was still held when the locks were read, the
 * watermark is not above the lock's second. Otherwise the transaction had ended, and its rows are visible. Rows must not be stamped with
 * `now()`, the beginning of the transaction, which is before the lock. If the server's clock is set back, a row can be stamped below a
 * watermark that was read before.
 */
export async function readSettlementWatermark(connection: Pool | Connection): Promise<Date> {
  const { rows } = await connection.query<{ watermark: Date; replica: boolean }>(
    `select pg_is_in_recovery() as replica, date_trunc('milliseconds', least(
       statement_timestamp(),
       (select to_timestamp(min(objid::int8) + ${LOCK_EPOCH_SECONDS}) from pg_locks
        where locktype = 'advisory' and classid = ${LOCK_CLASS} and objsubid = 2
          and database = (select oid from pg_database where datname = current_database()))
     )) as watermark`,
  );
  const [row] = rows;
  if (!row) throw new Error('Expected one row, got none');
  if (row.replica)
    throw new TollwayError(
      'replica',
      'Expected the primary database server, got a standby. Only the primary knows which clicks are being settled',
    );
  return row.watermark;
}
