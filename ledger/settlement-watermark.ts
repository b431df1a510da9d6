import { TollwayError } from '../common/errors.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';

/** The class of the advisory locks of transactions that settle: the first of two keys. */
const LOCK_CLASS = 826_366_246;
/** 2020-01-01 in Unix seconds: the second key counts from here, so that 32 bits last until 2088. */
const LOCK_EPOCH_SECONDS = 1_577_836_800;

/**
 * The lock that a transaction takes before it adds rows to `ledger`, `dead_letter` or `budget_entry`, in a message of its own. Shared, so
 * nobody waits for it; its second key is the present second. Rows are stamped with the time of their statement, which comes later.
 */
export const LOCK_SETTLEMENT = `select pg_advisory_xact_lock_shared(${LOCK_CLASS}, floor(extract(epoch from clock_timestamp()))::int8::int4 - ${LOCK_EPOCH_SECONDS})`;

/**
 * The time before which no row can be added any more: rows of `ledger`, `dead_letter` and `budget_entry` that are stamped earlier are all
 * there for a snapshot that is taken after this one was read. At most the present; as far behind as the oldest transaction that settles,
 * to the second: so a later call may return up to a second less than an earlier one, and callers keep the higher. In milliseconds,
 * rounded down. Throws `replica` on a standby server, which does not know the locks of its primary.
 *
 * Why it is exact: a row stamped before the watermark belongs to a transaction whose lock was taken before its stamp. If the lock was
 * still held when the locks were read, the watermark is not above its second. Otherwise the transaction had ended, and its rows are
 * visible. `now()` would not do: it is the beginning of the transaction, before any lock. A clock of the server that is set back can
 * stamp a row below a watermark that was read before.
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
  if (!row) throw new Error('Expected a row');
  if (row.replica)
    throw new TollwayError(
      'replica',
      'Expected the primary database server, got a standby: which clicks are still being settled is known on the primary only',
    );
  return row.watermark;
}
