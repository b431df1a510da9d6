import type { FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';
import type { SessionCookie } from './session-cookie.ts';

/** What a request is authenticated by: the text of an API key, or the token of a session. */
export type Credential = { readonly kind: 'key' | 'session'; readonly secret: string };

/** `Authorization: Bearer <key>`. The scheme is case-insensitive: https://www.rfc-editor.org/rfc/rfc9110#section-11.1 */
const BEARER = /^bearer +([\x21-\x7e]+)$/i;
const EXPECTED = 'Authorization: expected "Bearer <API key>"';

/**
 * Reads the credential of a request: the key in the `Authorization` header, and only without this header the cookie. Throws
 * `unauthenticated` if there is neither, or more than one.
 */
export function readCredential(request: FastifyRequest, cookie: SessionCookie): Credential {
  if (request.headers.authorization !== undefined) return { kind: 'key', secret: keyText(request) };
  const [secret, ...more] = cookie.valuesOf(request);
  if (secret === undefined) throw unauthenticated(`${EXPECTED}, got no such header`);
  if (more.length > 0)
    throw unauthenticated(
      `Cookie: expected ${cookie.name} once, got ${more.length + 1} cookies of this name`,
    );
  return { kind: 'session', secret };
}

/** Returns the text of the key in the one `Authorization` header. Node keeps the first of several, so these are counted in the raw headers. */
function keyText({ headers, raw }: FastifyRequest): string {
  const count = raw.rawHeaders.filter(
    (name, at) => at % 2 === 0 && name.toLowerCase() === 'authorization',
  ).length;
  if (count > 1) throw unauthenticated(`${EXPECTED} once, got ${count} headers`);
  const [, key] = BEARER.exec(headers.authorization ?? '') ?? [];
  if (key === undefined) throw unauthenticated(`${EXPECTED}, got another form`);
  return key;
}

export function unauthenticated(message: string): TollwayError {
  return new TollwayError('unauthenticated', message);
}
