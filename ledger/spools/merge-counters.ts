import { arrayLiteral, type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { addCounters, COUNTER_COLUMNS, type SpoolCounterRow, type SpoolCounters } from './counters.ts';
import { formatMultirange } from './sequence-ranges.ts';

/** Most counter rows merged in one transaction. */
const MERGE_ROWS_MAX = 1_000;
/** Merges run one at a time: two could lock the same totals in different orders and deadlock. */
const LOCK_MERGES = "select pg_advisory_xact_lock(hashtext('tollway spool counters'))";

/** Merges the counters that batches appended into one total for each spool. Resolves when none are left. */
export async function mergeSpoolCounters(pool: Pool): Promise<void> {
  for (;;) {
    const merged = await inTransaction(pool, mergeCounterPage);
    if (merged < MERGE_ROWS_MAX) return;
  }
}

async function mergeCounterPage(connection: Connection): Promise<number> {
  await connection.query(LOCK_MERGES);
  const { rows } = await connection.query<SpoolCounterRow>(
    `delete from spool_counter where id in (select id from spool_counter order by id limit ${MERGE_ROWS_MAX})
     returning ${COUNTER_COLUMNS}`,
  );
  await addToTotals(connection, rows);
  return rows.length;
}

/**
 * Merges the appended counters of one spool into its total, in the caller's transaction. Blocks other merges until that transaction ends.
 */
export async function mergeCountersOfSpool(connection: Connection, spoolId: string): Promise<void> {
  await connection.query(LOCK_MERGES);
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
