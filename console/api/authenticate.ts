import type { FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { type ApiKey, findKey } from '../../ledger/api-keys.ts';
import { type Access, assertAllowed, type Caller } from './access.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request it is. Set before the route runs, except for public routes. */
    caller: Caller;
  }
  interface FastifyContextConfig {
    /** Required for every route, see `ACCESS_RULES`. */
    access?: Access;
  }
}

/** Longest wait for the database, in ms. A request then fails as `database_away`. */
const QUERY_MS_MAX = 1_500;
/** `Authorization: Bearer <key>`. The scheme is case-insensitive: https://www.rfc-editor.org/rfc/rfc9110#section-11.1 */
const BEARER = /^bearer +([\x21-\x7e]+)$/i;
const EXPECTED = 'Authorization: expected "Bearer <API key>"';

/**
 * Creates an `onRequest` hook that finds the key of a request, sets `request.caller`, and checks the rule of the route. Add it before
 * hooks that need the caller. `noteUse` gets the id of each accepted key. The hook throws `unauthenticated` and `forbidden`. The key is read
 * from the header alone: addresses end up in logs, and browsers send cookies by themselves.
 */
export function createAuthenticator(pool: Pool, noteUse: (keyId: number) => void) {
  return async (request: FastifyRequest): Promise<void> => {
    const { access } = request.routeOptions.config;
    if (request.is404 || access === 'public') return;
    if (access === undefined) throw new Error(`Expected a rule for ${request.url}, got none`);
    const key = await readCaller(pool, request);
    request.caller = { keyId: key.id, name: key.name, role: key.role, advertiserIds: key.advertiserIds };
    noteUse(key.id);
    assertAllowed(request.caller, access);
  };
}

/** Returns the active key of a request. Throws `unauthenticated`, with one text for an unknown key and a wrong secret. */
async function readCaller(pool: Pool, request: FastifyRequest): Promise<ApiKey> {
  const key = await findKey(pool, keyText(request), QUERY_MS_MAX);
  if (!key) throw unauthenticated('Authorization: expected a key of this installation, got an unknown one');
  const { status, expiresAt, revokedAt } = key;
  if (status === 'active') return key;
  const since = (status === 'revoked' ? revokedAt : expiresAt)?.toISOString();
  throw unauthenticated(
    `Authorization: expected an active key, got key ${key.id}, which ${status === 'revoked' ? 'was revoked' : 'expired'} at ${since}`,
  );
}

/**
 * Returns the text of the key in the one `Authorization` header. Node keeps the first of several, so these are counted in the raw headers. Throws
 * `unauthenticated`.
 */
export function keyText({ headers, raw }: FastifyRequest): string {
  const { authorization } = headers;
  if (authorization === undefined) throw unauthenticated(`${EXPECTED}, got no such header`);
  const count = raw.rawHeaders.filter(
    (name, at) => at % 2 === 0 && name.toLowerCase() === 'authorization',
  ).length;
  if (count > 1) throw unauthenticated(`${EXPECTED} once, got ${count} headers`);
  const [, key] = BEARER.exec(authorization) ?? [];
  if (key === undefined) throw unauthenticated(`${EXPECTED}, got another form`);
  return key;
}

function unauthenticated(message: string): TollwayError {
  return new TollwayError('unauthenticated', message);
}
