import { timingSafeEqual } from 'node:crypto';
import { TollwayError } from '../../common/errors.ts';
import { arrayLiteral, type Connection, type Pool } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { parseName } from '../../common/text.ts';
import { ID_MAX } from '../../contract/click-event.ts';
import { unknownAdvertiser } from '../advertiser-lock.ts';
import { hashSecret, randomSecret, SECRET_PATTERN } from './random-secret.ts';

export const ROLES = ['admin', 'manager', 'finance', 'viewer'] as const;
/** What a key may do; `console/api/access.ts` has the rules. */
export type Role = (typeof ROLES)[number];

/** A key of the HTTP API, without its secret. */
export type ApiKey = {
  readonly id: number;
  readonly name: string;
  readonly role: Role;
  /** The key is restricted to these advertisers, in ascending order; `null`: it is not restricted. */
  readonly advertiserIds: readonly number[] | null;
  /** Only an active key is accepted. */
  readonly status: 'active' | 'expired' | 'revoked';
  readonly createdAt: Date;
  /** `null`: never. */
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  /** At most a minute before the latest use; `null`: never used. */
  readonly lastUsedAt: Date | null;
};

/** What a new key is made from. */
export type ApiKeyTerms = {
  readonly name: string;
  readonly role: Role;
  readonly advertiserIds?: readonly number[] | null;
  readonly expiresAt?: Date | null;
};

/** Most advertisers that one key can be restricted to. */
export const ADVERTISERS_MAX = 100;
/** The text of a key: its id and a secret. */
const KEY = new RegExp(`^tollway_([1-9]\\d{0,9})_(${SECRET_PATTERN})$`);
/** How often the last use of a key is written, in SQL. */
const LAST_USE_STEP = "interval '1 minute'";

/** The columns of `api_key` that make an `ApiKey`. */
export const KEY_COLUMNS = `id, name, role, advertiser_ids as "advertiserIds", created_at as "createdAt", expires_at as "expiresAt",
  revoked_at as "revokedAt", last_used_at as "lastUsedAt",
  case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'active' end as status`;

/**
 * Creates a key. `key` is its text, which is not stored: it cannot be shown again. Throws `bad_name`, `bad_role` (an unknown role, or an
 * admin that is restricted to advertisers), `bad_count` (none or too many advertisers), `bad_time` (an expiry in the past),
 * `unknown_advertiser`.
 */
export async function createKey(
  database: Pool | Connection,
  { name, role, advertiserIds = null, expiresAt = null }: ApiKeyTerms,
): Promise<ApiKey & { readonly key: string }> {
  assertTerms(role, advertiserIds, expiresAt);
  const ids = advertiserIds && [...new Set(advertiserIds)].sort((a, b) => a - b);
  if (ids) await assertAdvertisers(database, ids);
  const secret = randomSecret();
  const { rows } = await database.query<ApiKey>(
    `insert into api_key (name, role, advertiser_ids, expires_at, secret_hash) values ($1, $2, $3, $4, $5) returning ${KEY_COLUMNS}`,
    [parseName(name), role, ids && arrayLiteral(ids), expiresAt, hashSecret(secret)],
  );
  const made = singleRow(rows);
  return { ...made, key: `tollway_${made.id}_${secret}` };
}

function assertTerms(role: Role, advertiserIds: readonly number[] | null, expiresAt: Date | null): void {
  if (!ROLES.includes(role))
    throw new TollwayError('bad_role', `Expected one of the roles ${ROLES.join(', ')}, got "${role}"`);
  if (role === 'admin' && advertiserIds)
    throw new TollwayError(
      'bad_role',
      'Expected the role manager, finance or viewer for a key that is restricted to advertisers, got admin',
    );
  if (advertiserIds && (advertiserIds.length < 1 || advertiserIds.length > ADVERTISERS_MAX))
    throw new TollwayError(
      'bad_count',
      `Expected 1–${ADVERTISERS_MAX} advertisers for a restricted key, got ${advertiserIds.length}`,
    );
  if (expiresAt && !(expiresAt.getTime() > Date.now()))
    throw new TollwayError('bad_time', `Expected an expiry in the future, got ${expiresAt.toISOString()}`);
}

/** Throws `unknown_advertiser` for the first id that is none. Advertisers are never deleted, so no lock is needed. */
async function assertAdvertisers(database: Pool | Connection, ids: readonly number[]): Promise<void> {
  const { rows } = await database.query<{ id: number }>('select id from advertiser where id = any($1)', [
    arrayLiteral(ids),
  ]);
  const found = new Set(rows.map(({ id }) => id));
  const missing = ids.find((id) => !found.has(id));
  if (missing !== undefined) throw unknownAdvertiser(missing);
}

/** Returns keys ordered by id, also expired and revoked ones: at most `limit` with ids above `after`. */
export async function listKeys(
  database: Pool | Connection,
  { after = 0, limit = null }: { readonly after?: number; readonly limit?: number | null } = {},
): Promise<ApiKey[]> {
  const { rows } = await database.query<ApiKey>(
    `select ${KEY_COLUMNS} from api_key where id > $1 order by id limit $2`,
    [after, limit],
  );
  return rows;
}

/** Returns a key. Throws `unknown_key`. */
export async function readKey(database: Pool | Connection, id: number): Promise<ApiKey> {
  const { rows } = await database.query<ApiKey>(`select ${KEY_COLUMNS} from api_key where id = $1`, [id]);
  const [key] = rows;
  if (!key) throw unknownKey(id);
  return key;
}

/** Revokes a key for good: no later look finds it active. A key that was revoked before keeps its time. Throws `unknown_key`. */
export async function revokeKey(database: Pool | Connection, id: number): Promise<ApiKey> {
  const { rows } = await database.query<ApiKey>(
    `update api_key set revoked_at = now() where id = $1 and revoked_at is null returning ${KEY_COLUMNS}`,
    [id],
  );
  return rows[0] ?? readKey(database, id);
}

function unknownKey(id: number): TollwayError {
  return new TollwayError('unknown_key', `Expected the id of an API key in the database, got ${id}`);
}

/**
 * Returns the key with this text, also an expired or a revoked one, or `null` if there is none. A wrong secret takes the same query and the
 * same comparison as an unknown id. `queryMsMax`: longest wait for the database, in ms; 0 sets no limit.
 */
export async function findKey(pool: Pool, text: string, queryMsMax = 0): Promise<ApiKey | null> {
  const [, id, secret] = KEY.exec(text) ?? [];
  if (secret === undefined || Number(id) > ID_MAX) return null;
  const query = {
    name: 'find-key',
    text: `select ${KEY_COLUMNS}, secret_hash as "secretHash" from api_key where id = $1`,
    values: [Number(id)],
    query_timeout: queryMsMax,
  };
  const { rows } = await pool.query<ApiKey & { readonly secretHash: Buffer | null }>(query);
  const { secretHash, ...key } = rows[0] ?? { secretHash: null };
  const isRight = timingSafeEqual(hashSecret(secret), secretHash ?? NO_HASH);
  return isRight && secretHash !== null && 'id' in key ? key : null;
}

/** Whether a key is active, for a connection that lasts longer than a request. */
export async function isKeyValid(pool: Pool, id: number): Promise<boolean> {
  const { rows } = await pool.query<{ status: ApiKey['status'] }>(
    `select ${KEY_COLUMNS} from api_key where id = $1`,
    [id],
  );
  return rows[0]?.status === 'active';
}

/** Stands for the hash of an unknown id and of a key without a text, so that one is compared too. */
const NO_HASH = Buffer.alloc(32);

/**
 * Sets the last use of keys to now, unless it was set within the last minute. A key that another transaction is changing is left out, so
 * this waits for no lock. `queryMsMax` as in `findKey`.
 */
export async function recordKeyUse(pool: Pool, ids: readonly number[], queryMsMax = 0): Promise<void> {
  const query = {
    text: `with used as (
        select id from api_key where id = any($1) and (last_used_at is null or last_used_at < now() - ${LAST_USE_STEP}) order by id for update skip locked
      )
      update api_key set last_used_at = now() from used where api_key.id = used.id`,
    values: [arrayLiteral(ids)],
    query_timeout: queryMsMax,
  };
  await pool.query(query);
}
