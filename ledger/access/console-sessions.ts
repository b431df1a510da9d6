import { arrayLiteral, type Connection, type Pool } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { type ApiKey, KEY_COLUMNS } from './api-keys.ts';
import { hashSecret, isSecret, randomSecret } from './random-secret.ts';

/** How long a session lasts after its latest use, in days. */
export const SESSION_DAYS = 7;
/** Most sessions of one API key. A further one ends the one that expires first. */
export const SESSIONS_MAX = 100;
/** A session is renewed if it was not renewed for this time, in ms. */
export const RENEW_STEP_MS = 3_600_000;

const NEW_EXPIRY = `now() + interval '${SESSION_DAYS} days'`;

/** A browser that is logged in with an API key. */
export type ConsoleSession = {
  readonly id: bigint;
  /** Each use moves it on, at most once in `RENEW_STEP_MS`. */
  readonly expiresAt: Date;
  /** The key may have expired or have been revoked; the session is then of no use. */
  readonly key: ApiKey;
};

/** Creates a session of a key. `token` is its secret, which is not stored. Run it in a transaction. */
export async function createSession(
  connection: Connection,
  apiKeyId: number,
): Promise<{ readonly token: string; readonly expiresAt: Date }> {
  await connection.query(
    `delete from console_session where id in (
       select id from console_session where api_key_id = $1 order by expires_at desc, id desc offset $2)`,
    [apiKeyId, SESSIONS_MAX - 1],
  );
  const token = randomSecret();
  const { rows } = await connection.query<{ expiresAt: Date }>(
    `insert into console_session (token_hash, api_key_id, expires_at) values ($1, $2, ${NEW_EXPIRY}) returning expires_at as "expiresAt"`,
    [hashSecret(token), apiKeyId],
  );
  return { token, ...singleRow(rows) };
}

type SessionRow = ApiKey & { readonly sessionId: bigint; readonly sessionExpiresAt: Date };

/**
 * Returns the session with this token, also one whose key is not active, or `null` if there is none or it has expired. `queryMsMax`: longest
 * wait for the database, in ms; 0 sets no limit.
 */
export async function findSession(pool: Pool, token: string, queryMsMax = 0): Promise<ConsoleSession | null> {
  if (!isSecret(token)) return null;
  const query = {
    name: 'find-session',
    text: `select key.*, session.id as "sessionId", session.expires_at as "sessionExpiresAt"
      from console_session session, lateral (select ${KEY_COLUMNS} from api_key where api_key.id = session.api_key_id) key
      where session.token_hash = $1 and session.expires_at > now()`,
    values: [hashSecret(token)],
    query_timeout: queryMsMax,
  };
  const { rows } = await pool.query<SessionRow>(query);
  const [row] = rows;
  if (!row) return null;
  const { sessionId: id, sessionExpiresAt: expiresAt, ...key } = row;
  return { id, expiresAt, key };
}

/** Whether a session has not ended and its key is active, for a connection that lasts longer than a request. */
export async function isSessionValid(pool: Pool, id: bigint): Promise<boolean> {
  const { rows } = await pool.query<{ status: ApiKey['status'] }>(
    `select key.status from console_session session,
       lateral (select ${KEY_COLUMNS} from api_key where api_key.id = session.api_key_id) key
     where session.id = $1 and session.expires_at > now()`,
    [id],
  );
  return rows[0]?.status === 'active';
}

/**
 * Lets sessions last `SESSION_DAYS` from now. One that has ended stays so, and one that another transaction changes is left out, so this waits
 * for no lock. `queryMsMax` as in `findSession`.
 */
export async function renewSessions(pool: Pool, ids: readonly bigint[], queryMsMax = 0): Promise<void> {
  const query = {
    text: `with used as (
        select id from console_session where id = any($1) and expires_at > now() order by id for update skip locked
      )
      update console_session set expires_at = ${NEW_EXPIRY} from used where console_session.id = used.id`,
    values: [arrayLiteral(ids)],
    query_timeout: queryMsMax,
  };
  await pool.query(query);
}

/** Ends the session with this token. Without one, it does nothing. */
export async function endSession(database: Pool | Connection, token: string): Promise<void> {
  await database.query('delete from console_session where token_hash = $1', [hashSecret(token)]);
}

/** Deletes sessions that have expired. Returns how many. */
export async function deleteOldSessions(pool: Pool): Promise<number> {
  const { rowCount } = await pool.query('delete from console_session where expires_at <= now()');
  return rowCount ?? 0;
}
