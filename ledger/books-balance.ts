import { type Connection, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import type { Reconciliation } from './reconcile.ts';
import { emit } from './webhook-events.ts';

/** Most problems of one event; `count` has the number of all. */
const PROBLEMS_MAX = 20;

/**
 * Notes the result of a reconciliation. Emits `books.out_of_balance` if it found problems and the one noted before found none; the next
 * balanced result makes the next problem an event again.
 */
export function noteBalance(
  pool: Pool,
  { balanced, problems }: Pick<Reconciliation, 'balanced' | 'problems'>,
): Promise<void> {
  return inTransaction(pool, async (connection: Connection) => {
    const { rowCount } = await connection.query(
      'update webhook_state set out_of_balance = not $1 where out_of_balance = $1',
      [balanced],
    );
    if (rowCount === 0 || balanced) return;
    const data = { count: problems.length, problems: problems.slice(0, PROBLEMS_MAX) };
    await emit(connection, { type: 'books.out_of_balance', advertiserId: null, data });
  });
}
