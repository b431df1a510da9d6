import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Pool } from '../../common/postgres/postgres.ts';
import { type ApiKey, isKeyValid } from '../../ledger/access/api-keys.ts';
import { type ConsoleSession, findSession, isSessionValid } from '../../ledger/access/console-sessions.ts';
import { type Access, assertAllowed, type Caller } from './access.ts';
import { type Credential, readCredential, unauthenticated } from './credentials.ts';
import { KeyCache } from './key-cache.ts';
import { assertOwnPage } from './page-origin.ts';
import type { SessionCookie } from './session-cookie.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request it is. Set before the route runs, except for public routes. */
    caller: Caller;
    /** What the caller was authenticated by. Set with `caller`. */
    authentication: Authentication;
  }
  interface FastifyContextConfig {
    /** Required for every route, see `ACCESS_RULES`. */
    access?: Access;
  }
}

/** The credential of a request that was accepted. */
export type Authentication = Credential & {
  /** When it ends, without further use; `null`: never. */
  readonly expiresAt: Date | null;
  /** Whether it is still accepted, for a connection that lasts longer than a request. The question counts as a use. */
  readonly isStillValid: () => Promise<boolean>;
  /**
   * Whom the limits of long requests and of streams count: the key with all its sessions; for a key of all advertisers each session, because
   * several operators log in with the same one.
   */
  readonly limitedAs: string;
};

type AuthenticatorDeps = {
  readonly pool: Pool;
  readonly cookie: SessionCookie;
  /** Gets the id of each accepted key. */
  readonly noteKey: (keyId: number) => void;
  /** Gets the id of each accepted session. */
  readonly noteSession: (sessionId: bigint) => void;
};

/** Longest wait for the database, in ms. A request then fails as `database_away`. */
export const QUERY_MS_MAX = 1_500;

/**
 * Creates an `onRequest` hook that finds the key of a request, by its header or by the session of its cookie, sets `request.caller`, and
 * checks the rule of the route. Add it before hooks that need the caller. The hook throws `unauthenticated` and `forbidden`. A key is read
 * from the header alone: addresses end up in logs. The answer to a cookie of no session deletes the cookie.
 */
export function createAuthenticator({ pool, cookie, noteKey, noteSession }: AuthenticatorDeps) {
  const keys = new KeyCache(pool);
  const noteUse = (key: ApiKey, session: ConsoleSession | null) => {
    noteKey(key.id);
    if (session) noteSession(session.id);
  };
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { access } = request.routeOptions.config;
    if (request.is404 || access === 'public') return;
    if (access === undefined) throw new Error(`Expected a rule for ${request.url}, got none`);
    const credential = readCredential(request, cookie);
    if (credential.kind === 'session') {
      assertOwnPage(request);
      // Unlike `Authorization`, a cookie does not keep proxies from storing an answer.
      reply.header('cache-control', 'no-store');
    }
    const { key, session } = await findCaller(pool, keys, credential);
    if (key?.status !== 'active') {
      if (credential.kind === 'session') cookie.clear(reply);
      throw refusal(credential, key);
    }
    request.caller = { keyId: key.id, name: key.name, role: key.role, advertiserIds: key.advertiserIds };
    request.authentication = {
      ...credential,
      expiresAt: earliest(key.expiresAt, session?.expiresAt ?? null),
      isStillValid: async () => {
        const isValid = await (session ? isSessionValid(pool, session.id) : isKeyValid(pool, key.id));
        if (isValid) noteUse(key, session);
        return isValid;
      },
      limitedAs: session && key.advertiserIds === null ? `session ${session.id}` : `key ${key.id}`,
    };
    noteUse(key, session);
    assertAllowed(request.caller, access);
  };
}

async function findCaller(
  pool: Pool,
  keys: KeyCache,
  { kind, secret }: Credential,
): Promise<{ key: ApiKey | null; session: ConsoleSession | null }> {
  if (kind === 'key') return { key: await keys.find(secret, QUERY_MS_MAX), session: null };
  const session = await findSession(pool, secret, QUERY_MS_MAX);
  return { key: session?.key ?? null, session };
}

/** The earlier of two times; `null` is later than every time. */
export function earliest(one: Date | null, other: Date | null): Date | null {
  if (one === null || other === null) return one ?? other;
  return one < other ? one : other;
}

/** The error of a credential whose key is not active, with one text for an unknown key and a wrong secret. */
function refusal({ kind }: Credential, key: ApiKey | null): Error {
  const place = kind === 'key' ? 'Authorization' : 'Cookie';
  if (key) return unauthenticated(`${place}: ${describeInactive(key)}`);
  return unauthenticated(
    kind === 'key'
      ? 'Authorization: expected a key of this installation, got an unknown one'
      : 'Cookie: expected a session that has not ended, got another one; log in again',
  );
}

/** What is wrong with a key that is not active, for an error. */
export function describeInactive({ id, status, expiresAt, revokedAt }: ApiKey): string {
  const since = (status === 'revoked' ? revokedAt : expiresAt)?.toISOString();
  return `expected an active key, got key ${id}, which ${status === 'revoked' ? 'was revoked' : 'expired'} at ${since}`;
}
