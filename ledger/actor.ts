import { type Connection, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import { BEGIN_CHARGE } from './charge-locks.ts';

/** Who makes a change: an API key, a user of the command line, or a component such as `start`. */
export type Actor =
  | { readonly type: 'key'; readonly id: number; readonly name: string; readonly role: string }
  | { readonly type: 'cli'; readonly user: string }
  | { readonly type: 'system'; readonly component: string };

/**
 * Runs `work` in one transaction whose changes are recorded in the audit log as those of `actor`, and commits it. The transaction begins
 * with `BEGIN_CHARGE`, so the functions of `ledger/` and the redrive can join it. It must be short: reports do not see the clicks that are
 * settled during it.
 */
export function changeAs<T>(
  pool: Pool,
  actor: Actor,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  return inTransaction(
    pool,
    async (connection) => {
      await setActor(connection, actor);
      return work(connection);
    },
    BEGIN_CHARGE,
  );
}

/** Names the actor of the changes that follow in the open transaction of a connection. The audit triggers read it. */
async function setActor(connection: Connection, actor: Actor): Promise<void> {
  await connection.query("select set_config('tollway.actor', $1, true)", [JSON.stringify(actor)]);
}
