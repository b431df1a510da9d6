/** What the clock of a database server shows to transactions that settle clicks. */
import type { Pool } from '../../common/postgres/postgres.ts';

/** Lets the clock of a database show the value of an SQL expression, in Unix ms, in which `now_ms` is the right time. */
export async function setDatabaseClock(pool: Pool, expression: string): Promise<void> {
  await pool.query(
    `create or replace function clock_ms() returns bigint language sql volatile as $$
       select (${expression})::bigint from (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms) clock
     $$`,
  );
}

/** SQL that takes the settlement lock of a transaction under another time, an SQL expression in Unix ms. */
export function lockSettlementAt(expression: string): string {
  return `select pg_advisory_xact_lock_shared(826366246 + (ms >> 32)::integer, settlement_key(ms)) from (select (${expression})::bigint as ms) time`;
}
