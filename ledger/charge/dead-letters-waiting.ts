import type { Connection } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { emit } from '../webhooks/emit.ts';

/**
 * Key of the advisory lock of `webhook_state.dead_letters_waiting`, which is true if and only if a dead letter waits. Transactions that insert
 * dead letters share it until they commit, so they do not wait for each other. A transaction that removes one takes it alone: no dead letter is
 * then inserted and not yet committed, so the count that it reads is exact until its own commit. Without it, the last dead letter could be
 * removed while another is inserted, and the flag would say that none waits.
 *
 * Both take it as their last lock but that of the row, so a transaction that waits for it holds up no other one in the reverse order.
 */
const LOCK = 826_366_248;

/**
 * Notes, at the end of a transaction, that it inserted dead letters. Emits `dead_letters.waiting` if none waited before. Of concurrent
 * transactions the first to update the row emits it; the others wait for its commit and then find the flag set.
 */
export async function noteDeadLetters(connection: Connection, inserted: number): Promise<void> {
  if (inserted === 0) return;
  await connection.query('select pg_advisory_xact_lock_shared($1)', [LOCK]);
  // A statement of its own, because its snapshot must be taken after the wait for the lock.
  const { rowCount } = await connection.query(
    'update webhook_state set dead_letters_waiting = true where not dead_letters_waiting',
  );
  if (rowCount === 0) return;
  const { rows } = await connection.query<{ count: number }>(
    'select count(*)::integer as count from dead_letter where discarded_at is null',
  );
  await emit(connection, {
    type: 'dead_letters.waiting',
    advertiserId: null,
    data: { count: singleRow(rows).count },
  });
}

/** Notes, at the end of a transaction, that it removed or discarded a dead letter: the next one is an event again if none is left. */
export async function noteNoDeadLetters(connection: Connection): Promise<void> {
  // One message of two statements: the second has its own snapshot, from after the wait for the lock.
  await connection.query(
    `select pg_advisory_xact_lock(${LOCK});
     update webhook_state set dead_letters_waiting = false
     where dead_letters_waiting and (select max(id) from dead_letter where discarded_at is null) is null`,
  );
}
