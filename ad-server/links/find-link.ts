import type { Link, LinkVerifier } from '../../contract/link-token.ts';

const PATH = '/c/';
/** The same as some people and programs join it to a host. */
const DOUBLED_SLASHES = /^\/+c\/+/;

/** A link that was found in a request. */
export type FoundLink = { readonly token: string; readonly link: Link };

/**
 * The link that a path and query carry, or `null` for those of something else. Where the path as it stands holds no valid token, the
 * characters that cannot be part of one are cut off and the rest is verified: people and programs put dots, slashes, quotes and parameters
 * behind links. The tag covers the whole token in either case.
 */
export function findLink(target: string, verify: LinkVerifier): FoundLink | null {
  const exact = tokenOf(target);
  const link = exact === null ? null : verify(exact);
  if (exact !== null && link !== null) return { token: exact, link };
  const token = exact === null ? '' : trimmedToken(exact);
  const trimmed = token === exact ? null : verify(token);
  return trimmed === null ? null : { token, link: trimmed };
}

/** The characters of tokens that a text begins with, without the dots at their end. */
function trimmedToken(text: string): string {
  const token = /^[\w.-]*/.exec(text)?.[0] ?? '';
  let end = token.length;
  while (token[end - 1] === '.') end -= 1;
  return token.slice(0, end);
}

/** What stands where a token should in a path and query, or `null` for those of something else. Slashes may be doubled. */
export function tokenOf(target: string): string | null {
  // A proxy may send the whole URL: RFC 9112 §3.2.2 wants it accepted.
  const url = target.startsWith('/') || !URL.canParse(target) ? target : new URL(target).pathname;
  const isPlain = url.startsWith(PATH) && url[PATH.length] !== '/';
  const start = isPlain ? PATH.length : DOUBLED_SLASHES.exec(url)?.[0].length;
  if (start === undefined) return null;
  const end = url.indexOf('?');
  return end < 0 ? url.slice(start) : url.slice(start, end);
}
