import { TollwayError } from '../common/errors.ts';
import type { Pool } from '../common/postgres/postgres.ts';

/**
 * SQL that takes the settlement lock of a transaction. Rows of `ledger`, `dead_letter` and `budget_entry` are stamped with the time that it
 * returns. It is shared, so no transaction waits for it. An insert takes it by itself if the transaction does not hold it yet. Read the rows
 * that decide an outcome after it.
 */
export const LOCK_SETTLEMENT = 'select lock_settlement()';

/**
 * Returns the settlement watermark, in whole milliseconds: all rows of `ledger`, `dead_letter` and `budget_entry` that are stamped before it
 * are visible to a snapshot that is taken after this call, and no other row will be stamped before it. It is the current time or, if
 * transactions are settling, the time at which the oldest of them took its lock. A later call can therefore return less than an earlier one;
 * callers keep the higher. Throws `replica` on a standby server, which does not know the locks of its primary.
 *
 * It is exact, also if the server's clock is set back or the clock of a new primary is behind. The call sets the settlement clock, which never
 * goes back, and then reads the locks. A transaction takes its lock, under a time that is not after its stamp, and then reads the settlement
 * clock, below which it is not stamped. If its lock was held when the locks were read, the watermark is not above the lock's time. If it
 * had ended, its rows are visible. If it was not yet taken, the transaction reads a settlement clock that is not below the watermark.
 *
 * While the server's clock is behind the settlement clock, that one goes on at half its speed. What is settled then is stamped with a time
 * ahead of the server's clock, and nothing is missing in reports and exports. In a transaction or a database that is
 * read-only, the call does not move it, and the watermark is that of the latest call elsewhere.
 */
export async function readSettlementWatermark(pool: Pool): Promise<Date> {
  const { rows } = await pool.query<{ watermark: Date | null }>(
    'select case when not pg_is_in_recovery() then settlement_watermark() end as watermark',
  );
  const [row] = rows;
  if (!row) throw new Error('Expected one row, got none');
  if (row.watermark === null)
    throw new TollwayError(
      'replica',
      'Expected the primary database server, got a standby. Only the primary knows which clicks are being settled',
    );
  return row.watermark;
}
