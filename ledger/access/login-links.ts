import { TollwayError } from '../../common/errors.ts';
import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { type ApiKey, KEY_COLUMNS, readKey } from './api-keys.ts';
import { recordAudit } from './audit-log.ts';
import { hashSecret, isSecret, randomSecret } from './random-secret.ts';

/** How long a login link is valid, in minutes. */
export const LOGIN_LINK_MINUTES = 10;
/** Name of the key of the login links that name no other. */
export const LOGIN_KEY_NAME = 'console login';

/** A link that logs a browser in once, with an API key. */
export type LoginLink = {
  /** Its secret, which is not stored. */
  readonly token: string;
  readonly expiresAt: Date;
  readonly key: ApiKey;
};

/**
 * Creates a login link for a key; without one, for an administrator's key that has no text, which is created if there is none. It adds an
 * entry to the audit log. Run it in a transaction of `changeAs`. Throws `unknown_key`, and `key_not_active` for one that is expired or
 * revoked.
 */
export async function createLoginLink(connection: Connection, apiKeyId?: number): Promise<LoginLink> {
  const key =
    apiKeyId === undefined ? await findOrMakeLoginKey(connection) : await readKey(connection, apiKeyId);
  if (key.status !== 'active')
    throw new TollwayError(
      'key_not_active',
      `Expected an active API key, got key ${key.id}, which is ${key.status}`,
    );
  const token = randomSecret();
  const { rows } = await connection.query<{ expiresAt: Date }>(
    `insert into login_link (token_hash, api_key_id, expires_at) values ($1, $2, now() + interval '${LOGIN_LINK_MINUTES} minutes')
     returning expires_at as "expiresAt"`,
    [hashSecret(token), key.id],
  );
  const { expiresAt } = singleRow(rows);
  await recordAudit(connection, {
    action: 'login_link.create',
    subject: String(key.id),
    after: { expiresAt },
  });
  return { token, expiresAt, key };
}

/** Revoking this key ends all sessions of its links; the next link then makes another one. */
async function findOrMakeLoginKey(connection: Connection): Promise<ApiKey> {
  const find = async () =>
    connection.query<ApiKey>(
      `select ${KEY_COLUMNS} from api_key where secret_hash is null and revoked_at is null`,
    );
  const { rows } = await find();
  if (rows[0]) return rows[0];
  // If another transaction makes it too, this waits for its end.
  await connection.query("insert into api_key (name, role) values ($1, 'admin') on conflict do nothing", [
    LOGIN_KEY_NAME,
  ]);
  return singleRow((await find()).rows);
}

/** The URL of a login link. Browsers do not send the fragment, so that no log has the token. */
export function loginUrl(consoleUrl: string, { token }: LoginLink): string {
  return `${consoleUrl}/#login=${token}`;
}

/** Returns the key of a login link that can still be used, or `null`. `queryMsMax`: longest wait for the database, in ms. */
export async function findLoginLink(pool: Pool, token: string, queryMsMax: number): Promise<ApiKey | null> {
  if (!isSecret(token)) return null;
  const query = {
    text: `select key.* from login_link link, lateral (select ${KEY_COLUMNS} from api_key where api_key.id = link.api_key_id) key
      where link.token_hash = $1 and link.expires_at > now()`,
    values: [hashSecret(token)],
    query_timeout: queryMsMax,
  };
  const { rows } = await pool.query<ApiKey>(query);
  return rows[0] ?? null;
}

/** Uses a login link up. Returns whether it could still be used: of several transactions that try at once, one gets `true`. */
export async function useLoginLink(connection: Connection, token: string): Promise<boolean> {
  const { rowCount } = await connection.query(
    'delete from login_link where token_hash = $1 and expires_at > now()',
    [hashSecret(token)],
  );
  return rowCount === 1;
}

/** Deletes login links that have expired. Returns how many. */
export async function deleteOldLoginLinks(pool: Pool): Promise<number> {
  const { rowCount } = await pool.query('delete from login_link where expires_at <= now()');
  return rowCount ?? 0;
}
