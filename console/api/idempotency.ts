import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';
import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { claimAnswer, type KeyedRequest, storeAnswer } from '../../ledger/access/api-answers.ts';
import { type Actor, changeAs } from '../../ledger/actor.ts';
import { openAnswer, sealAnswer } from './sealed-answer.ts';

/** Headers of an answer that a repeated request gets too. */
const STORED_HEADERS = ['etag', 'location'];
const KEY_CHARS_MAX = 255;

/**
 * Carries out a write of the API in one transaction, in the name of the caller's key. With an `Idempotency-Key`, the answer is stored in the
 * same transaction: a repeated POST gets it again, with the header `Idempotency-Replayed: true`, and changes nothing. Errors roll back and
 * are not stored. `work` sets status and headers on `reply` and returns the body.
 *
 * `checkEarlier` gets the body of a stored answer before it is sent again, and throws if it is no longer true.
 *
 * Throws `idempotency_key_reused`, `bad_request` for a bad key, and what `work` and `checkEarlier` throw.
 */
export function change<T extends object>(
  pool: Pool,
  request: FastifyRequest,
  reply: FastifyReply,
  work: (connection: Connection) => Promise<T>,
  checkEarlier: (body: string) => void = () => {},
): Promise<T> {
  const keyed = keyedRequest(request);
  const isSecret = request.routeOptions.config.secretAnswer === true;
  if (isSecret) reply.header('cache-control', 'no-store');
  return changeAs(pool, actorOf(request), async (connection) => {
    if (keyed === null) return work(connection);
    const earlier = await claimAnswer(connection, keyed);
    if (earlier === null) {
      const result: object = await work(connection);
      const body = String(reply.serializeInput({ ...result }, String(reply.statusCode)));
      await storeAnswer(connection, keyed, {
        ...{ status: reply.statusCode, headers: storedHeaders(reply) },
        body: isSecret ? sealAnswer(body, request.authentication.secret) : body,
      });
      return json<T>(reply, body);
    }
    if (!earlier.isSame) {
      throw new TollwayError(
        'idempotency_key_reused',
        `Idempotency-Key: expected a new key for another request, got "${keyed.idempotencyKey}" again`,
      );
    }
    checkEarlier(earlier.body);
    reply.code(earlier.status).headers({ ...earlier.headers, 'idempotency-replayed': 'true' });
    return json<T>(reply, isSecret ? openSealed(earlier.body, request) : earlier.body);
  });
}

/**
 * As `change`, for a POST that changes nothing: only with an `Idempotency-Key`, under which its answer is stored, does `work` run in a
 * transaction.
 */
export function answerOnce<T extends object>(
  pool: Pool,
  request: FastifyRequest,
  reply: FastifyReply,
  work: (database: Pool | Connection) => Promise<T>,
): Promise<T> {
  return request.headers['idempotency-key'] === undefined ? work(pool) : change(pool, request, reply, work);
}

/** Opens an answer with a secret, which is sealed with the key or the session of the first request. Throws `idempotency_key_reused`. */
function openSealed(sealed: string, { authentication }: FastifyRequest): string {
  try {
    return openAnswer(sealed, authentication.secret);
  } catch (cause) {
    throw new TollwayError(
      'idempotency_key_reused',
      'Expected the session or the Authorization header of the first request, because its answer has a secret; got another one',
      { cause },
    );
  }
}

/** Passes a body that is serialized already. Fastify sends a text of the type JSON as it is, so the type of the body is a fiction here. */
function json<T>(reply: FastifyReply, body: string): T {
  reply.type('application/json; charset=utf-8').serializer((text: unknown) => String(text));
  return body as T;
}

function storedHeaders(reply: FastifyReply): Record<string, string> {
  return Object.fromEntries(
    STORED_HEADERS.flatMap((name) => (reply.hasHeader(name) ? [[name, String(reply.getHeader(name))]] : [])),
  );
}

/** The request under its `Idempotency-Key`, or `null` without one, or for another method than POST. */
function keyedRequest(request: FastifyRequest): KeyedRequest | null {
  const key = request.headers['idempotency-key'];
  if (request.method !== 'POST' || key === undefined) return null;
  if (typeof key !== 'string' || key.length > KEY_CHARS_MAX || !/^[\x21-\x7e]+$/.test(key)) {
    throw new TollwayError(
      'bad_request',
      `Idempotency-Key: expected one header of 1–${KEY_CHARS_MAX} visible ASCII characters, got "${key}"`,
    );
  }
  const hash = createHash('sha256').update(`${request.method} ${request.url}\n`).update(request.rawBody);
  return { apiKeyId: request.caller.keyId, idempotencyKey: key, hash: hash.digest() };
}

function actorOf({ caller: { keyId, name, role } }: FastifyRequest): Actor {
  return { type: 'key', id: keyId, name, role };
}
