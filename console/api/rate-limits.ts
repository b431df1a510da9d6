import { createHash } from 'node:crypto';
import rateLimit from '@fastify/rate-limit';
import type { FastifyReply, FastifyRequest } from 'fastify';
import QuickLRU from 'quick-lru';
import { sourceOf } from '../../common/connections.ts';
import { TollwayError } from '../../common/errors.ts';
import type { App } from './deps.ts';
import type { SessionCookie } from './session-cookie.ts';

/** The window over which the requests of a key are counted, in ms. */
const WINDOW_MS = 10_000;
/** Failed authentications of one address that are answered in a window, and the window, in ms. */
const FAILURES_MAX = 30;
const FAILURES_WINDOW_MS = 60_000;
/** Keys that were accepted in the last hour, by their hash. */
const ACCEPTED_MAX = 10_000;
const ACCEPTED_MS = 3_600_000;

/**
 * Limits the requests of each key, or of each address on public routes, to `perSecond` on average over 10 s. Add it before the routes, and
 * after the hook that authenticates.
 */
export async function limitRequests(app: App, perSecond: number): Promise<void> {
  await app.register(rateLimit, {
    max: (perSecond * WINDOW_MS) / 1_000,
    timeWindow: WINDOW_MS,
    enableDraftSpec: true,
    keyGenerator: ({ caller, ip }) => (caller ? `key ${caller.keyId}` : addressOf(ip)),
    errorResponseBuilder: (_, { max }) =>
      new TollwayError(
        'rate_limited',
        `Expected at most ${max} requests in ${WINDOW_MS / 1_000} s, got more`,
      ),
  });
}

/**
 * Refuses the requests of an address (IPv4, or the /64 of IPv6) that has sent too many wrong keys, tokens of sessions or login links, without
 * asking the database. Those that were accepted lately pass, because several clients can share an address. Add it before the hook that
 * authenticates.
 */
export function limitFailures(app: App, cookie: SessionCookie): void {
  const accepted = new QuickLRU<string, true>({ maxSize: ACCEPTED_MAX, maxAge: ACCEPTED_MS });
  const failures = new QuickLRU<string, { count: number; until: number }>({ maxSize: ACCEPTED_MAX });
  const hashOf = (request: FastifyRequest) => hashOfGuess(request, cookie);
  const refuse = (request: FastifyRequest, reply: FastifyReply) => {
    const failed = failures.get(addressOf(request.ip));
    const waitMs = (failed?.until ?? 0) - performance.now();
    if (!failed || waitMs <= 0 || failed.count < FAILURES_MAX || accepted.has(hashOf(request) ?? '')) return;
    reply.header('retry-after', Math.ceil(waitMs / 1_000));
    const detail = `Expected at most ${FAILURES_MAX} wrong API keys, sessions and login links from one address in ${FAILURES_WINDOW_MS / 1_000} s, got more`;
    throw new TollwayError('rate_limited', detail);
  };
  app.addHook('onRequest', async (request, reply) => {
    if (!request.is404 && request.routeOptions.config.access !== 'public') refuse(request, reply);
  });
  // The body has the key of a log-in.
  app.addHook('preHandler', async (request, reply) => {
    if (isLogin(request)) refuse(request, reply);
  });
  app.addHook('onError', async (request, _, error) => {
    if (!(error instanceof TollwayError) || error.code !== 'unauthenticated') return;
    const hash = hashOf(request);
    // A request without a key guesses none, and costs no query.
    if (hash === null) return;
    const address = addressOf(request.ip);
    const now = performance.now();
    const failed = failures.get(address);
    if (failed && failed.until > now) failed.count += 1;
    else failures.set(address, { count: 1, until: now + FAILURES_WINDOW_MS });
    // It may have been revoked or have expired.
    accepted.delete(hash);
  });
  app.addHook('preValidation', async (request) => {
    if (request.caller) accepted.set(hashOf(request) ?? '', true);
  });
}

/** The address of a limit. Node knows none of a client that has closed its connection. */
function addressOf(ip: string | undefined): string {
  return sourceOf(ip ?? '');
}

function isLogin({ routeOptions }: FastifyRequest): boolean {
  return routeOptions.config.isLogin === true;
}

/** The hash of the key or token of a request, or `null` without one. A key has the same hash in the header and in the body of a log-in. */
function hashOfGuess(request: FastifyRequest, cookie: SessionCookie): string | null {
  const guess = guessOf(request, cookie);
  return guess === null ? null : createHash('sha256').update(guess).digest('base64');
}

function guessOf(request: FastifyRequest, cookie: SessionCookie): string | null {
  if (isLogin(request)) {
    const { key, login } = (request.body ?? {}) as Partial<Record<string, string>>;
    return key === undefined ? (login ?? null) : `Bearer ${key}`;
  }
  const { authorization } = request.headers;
  return authorization ?? cookie.valuesOf(request)[0] ?? null;
}
