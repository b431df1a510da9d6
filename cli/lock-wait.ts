import type { Connection, Pool } from '../common/postgres/postgres.ts';

/** A session that holds a lock for which a command waits, directly or because the holder waits for it in turn. */
export type LockHolder = {
  /** Process id of the session on the database server; 0 for a prepared transaction, which has no session. */
  readonly pid: number;
  /** `null` for a session without one, and for a prepared transaction. */
  readonly applicationName: string | null;
  /** When its transaction began; `null` if the database role may not see that. */
  readonly since: Date | null;
};

/** Follows the process ids of a pool's sessions. Those that a connection pooler such as PgBouncer tells belong to no process. */
export function followSessions(pool: Pool): () => readonly number[] {
  const clients = new Set<Connection>();
  pool.on('connect', (client) => void clients.add(client));
  pool.on('remove', (client) => void clients.delete(client));
  // The types lack the process id of a client.
  return () =>
    [...clients].flatMap((client) => (client as unknown as { processID?: number }).processID ?? []);
}

/** Most holders that are read: a row can be locked by any number of sessions with `for share`. */
const HOLDERS_MAX = 3;

/**
 * Finds the sessions that hold what sessions of the command line have waited for since at least `waitMsMin` ms. Empty if none of them waits
 * that long, and behind a connection pooler, which does not tell the process ids of the sessions. A session that waits for a lock itself is
 * no holder: what it waits for is followed. https://www.postgresql.org/docs/18/functions-info.html#FUNCTIONS-INFO-SESSION
 */
export async function findLockHolders(
  connection: Connection,
  pids: readonly number[],
  waitMsMin: number,
): Promise<LockHolder[]> {
  const { rows } = await connection.query<LockHolder>(
    `with recursive blocking as (
       select unnest(pg_blocking_pids(waiting.pid)) as pid from pg_locks waiting join pg_stat_activity session using (pid)
       where waiting.pid = any($1) and not granted and waitstart <= clock_timestamp() - make_interval(secs => $2 / 1000.0)
         and session.application_name = 'tollway cli'
       union
       select unnest(pg_blocking_pids(pid)) from blocking
     )
     select pid, nullif(application_name, '') as "applicationName", xact_start as since
     from blocking left join pg_stat_activity session using (pid)
     where cardinality(pg_blocking_pids(pid)) = 0 and (pid = 0 or session.pid is not null) order by xact_start, pid limit $3`,
    [pids, waitMsMin, HOLDERS_MAX],
  );
  return rows;
}

/** What a person reads about holders. */
export function describeLockHolders(holders: readonly LockHolder[]): string {
  return holders.map(describe).join(', ');
}

function describe({ pid, applicationName, since }: LockHolder): string {
  if (pid === 0) return 'a prepared transaction (see pg_prepared_xacts)';
  const name = applicationName ?? 'without an application name';
  return `process ${pid} (${name}${since === null ? '' : `, in a transaction since ${since.toISOString()}`})`;
}
