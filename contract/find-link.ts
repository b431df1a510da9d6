import type { Link, LinkVerifier } from './link-token.ts';

const PATH = '/c/';
/** The same path when it was appended to a host with an extra slash. */
const DOUBLED_SLASHES = /^\/+c\/+/;

/** The token of a request and its link. */
export type FoundLink = { readonly token: string; readonly link: Link };

/**
 * Finds the link in a path and query, or returns `null`. If the text after `/c/` is not a valid token, characters that no token has are
 * removed from its end and the rest is verified, because people and programs append dots, slashes, quotes and parameters to links. The tag
 * covers the whole token in either case.
 */
export function findLink(target: string, verify: LinkVerifier): FoundLink | null {
  const exact = tokenOf(target);
  const link = exact === null ? null : verify(exact);
  if (exact !== null && link !== null) return { token: exact, link };
  const token = exact === null ? '' : trimmedToken(exact);
  const trimmed = token === exact ? null : verify(token);
  return trimmed === null ? null : { token, link: trimmed };
}

/** The longest beginning of a text with characters of tokens, without dots at its end. */
function trimmedToken(text: string): string {
  const token = /^[\w.-]*/.exec(text)?.[0] ?? '';
  let end = token.length;
  while (token[end - 1] === '.') end -= 1;
  return token.slice(0, end);
}

/** The text after `/c/` of a path and query, or `null` for another path. Slashes can be doubled. */
export function tokenOf(target: string): string | null {
  // A proxy can send the whole URL, which RFC 9112 §3.2.2 requires servers to accept.
  const url = target.startsWith('/') || !URL.canParse(target) ? target : new URL(target).pathname;
  const isPlain = url.startsWith(PATH) && url[PATH.length] !== '/';
  const start = isPlain ? PATH.length : DOUBLED_SLASHES.exec(url)?.[0].length;
  if (start === undefined) return null;
  const end = url.indexOf('?');
  return end < 0 ? url.slice(start) : url.slice(start, end);
}
