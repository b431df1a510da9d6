import type { Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { isoDay } from '../../ledger/partitions.ts';

/** Lets the ledger accept clicks of the UTC days from `first` to `last`, such as `2025-03-30`, which maintenance would have closed. */
export async function openPastDays(pool: Pool, first: string, last: string): Promise<void> {
  for (let day = Date.parse(first); day <= Date.parse(last); day += DAY_MS) {
    await pool.query(`select add_partition('ledger', $1)`, [isoDay(day)]);
  }
  await pool.query('update ledger_window set click_floor = least(click_floor, $1::date)', [first]);
}
