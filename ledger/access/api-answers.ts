import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';

/** How long the answer to a request with an `Idempotency-Key` is kept, in hours. */
export const ANSWER_HOURS = 24;
const KEPT = `interval '${ANSWER_HOURS} hours'`;

/** A stored answer of the HTTP API. */
export type ApiAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/** A request with an `Idempotency-Key`. `hash` is the SHA-256 of its method, its URL and its body. */
export type KeyedRequest = {
  readonly apiKeyId: number;
  readonly idempotencyKey: string;
  readonly hash: Buffer;
};

/**
 * Claims an idempotency key for a request in an open transaction. Returns `null` if the request is to be carried out, and otherwise the answer
 * that an earlier one with this key got, with `isSame: false` if that was another request. A request that is in progress under the same key
 * is waited for. If the transaction is rolled back, the key is free again.
 */
export async function claimAnswer(
  connection: Connection,
  { apiKeyId, idempotencyKey, hash }: KeyedRequest,
): Promise<(ApiAnswer & { readonly isSame: boolean }) | null> {
  const claimed = await connection.query(
    `insert into api_answer (api_key_id, idempotency_key, request_hash, status, headers, body) values ($1, $2, $3, 0, '{}', '')
     on conflict (api_key_id, idempotency_key) do update
     set request_hash = excluded.request_hash, status = 0, headers = '{}', body = '', created_at = now()
     where api_answer.created_at < now() - ${KEPT}`,
    [apiKeyId, idempotencyKey, hash],
  );
  if (claimed.rowCount === 1) return null;
  const { rows } = await connection.query<ApiAnswer & { isSame: boolean }>(
    `select status, headers, body, request_hash = $3 as "isSame" from api_answer where api_key_id = $1 and idempotency_key = $2`,
    [apiKeyId, idempotencyKey, hash],
  );
  return singleRow(rows);
}

/** Stores the answer of a request whose key the open transaction has claimed. */
export async function storeAnswer(
  connection: Connection,
  { apiKeyId, idempotencyKey }: KeyedRequest,
  { status, headers, body }: ApiAnswer,
): Promise<void> {
  await connection.query(
    'update api_answer set status = $3, headers = $4, body = $5 where api_key_id = $1 and idempotency_key = $2',
    [apiKeyId, idempotencyKey, status, headers, body],
  );
}

/** Deletes answers that are no longer kept. Returns how many. */
export async function deleteOldAnswers(pool: Pool): Promise<number> {
  const { rowCount } = await pool.query(`delete from api_answer where created_at < now() - ${KEPT}`);
  return rowCount ?? 0;
}
