import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { emit } from '../webhooks/emit.ts';
import type { Reconciliation } from './reconcile.ts';

/** Most problems of one event; `count` has the number of all. */
const PROBLEMS_MAX = 20;

/**
 * Stores whether the books balance, after a reconciliation. Emits `books.out_of_balance` if they do not and did after the reconciliation before,
 * so a problem that lasts is one event.
 */
export function emitBalanceChange(
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
