import type { FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';

/** Methods that change nothing. A page of another origin cannot read their answers. */
const SAFE_METHODS = ['GET', 'HEAD'];

/**
 * Protects against cross-site request forgery: browsers send the cookie by themselves, also from the pages of other ports of the host, which
 * `SameSite` counts as the same site. Throws `forbidden` for a request with the cookie that a page of another origin has sent, and, unless
 * it is a GET or HEAD, for one that does not say which page has sent it.
 * https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html#fetch-metadata-headers
 */
export function assertOwnPage(request: FastifyRequest): void {
  const sender = senderOf(request);
  if (sender === 'own' || (sender === 'unknown' && SAFE_METHODS.includes(request.method))) return;
  throw forbidden(request);
}

/** Throws `forbidden` for a request that a page of another origin has sent. Programs, which do not say, pass. */
export function assertNoForeignPage(request: FastifyRequest): void {
  if (senderOf(request) === 'foreign') throw forbidden(request);
}

/**
 * Whether a page of this console has sent a request. Browsers send `Sec-Fetch-Site` to https and to loopback addresses, and `Origin` with
 * every request that is no GET or HEAD. https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
 */
function senderOf({ headers, host }: FastifyRequest): 'own' | 'foreign' | 'unknown' {
  const fetchSite = headers['sec-fetch-site'];
  // `none`: the user has typed the address.
  if (fetchSite !== undefined && fetchSite !== 'none') return fetchSite === 'same-origin' ? 'own' : 'foreign';
  if (headers.origin === undefined) return 'unknown';
  const url = URL.parse(headers.origin);
  // Parsed with the same scheme, because a client can name the default port, which origins leave out.
  return url !== null && url.host !== '' && url.host === URL.parse(`${url.protocol}//${host}`)?.host
    ? 'own'
    : 'foreign';
}

function forbidden({ headers, host }: FastifyRequest): TollwayError {
  const { 'sec-fetch-site': sender = 'none' } = headers;
  return new TollwayError(
    'forbidden',
    `Expected a request of a page of ${host}: Sec-Fetch-Site "same-origin", or without it an Origin of this host; got Sec-Fetch-Site ${sender} and Origin ${headers.origin ?? 'none'}`,
  );
}
