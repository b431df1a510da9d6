import { isIP } from 'node:net';
import { eachLine } from '../click-lines.ts';
import type { LineResult, Reader } from '../line-result.ts';
import {
  combinedTimeMs,
  type LogContext,
  presentText,
  readingOf,
  splitRequest,
  withoutPort,
} from './log-request.ts';

/** The text before the time, the time, the request, the status, and the text after the size. */
const LINE =
  /^([^"]*?)\[(\d\d\/[A-Z][a-z]{2}\/\d{4}:[^\]"]{1,30})\] "((?:[^"\\]|\\.)*)" (\d{3}) (?:\d+|-)(.*)$/;
/**
 * A quoted text, or an escape outside of one. The escape is matched so that `\"` does not start a quoted text, which would make matching take
 * quadratic time.
 */
const QUOTED = /\\.|"((?:[^"\\]|\\.)*)"/g;
const ADDRESSES = /^[\da-f.:[\], ]+$/i;
const SECOND_MS = 1_000;

/** Whether a line is from a combined log. */
export function isCombinedLine(text: string): boolean {
  return LINE.test(text);
}

/**
 * Reads the combined and the common log of nginx and Apache, with or without a leading virtual host (`%v`, `%v:%p`) and further fields at the
 * end. A quoted list of addresses after the user agent is `X-Forwarded-For`, as in the `main` format of nginx's packages.
 * https://httpd.apache.org/docs/2.4/logs.html#combined
 *
 *     203.0.113.7 - - [31/Jan/2026:12:00:00 +0000] "GET /c/… HTTP/1.1" 302 0 "https://example.com/" "Mozilla/5.0 …" "198.51.100.7"
 */
export function combinedReader(context: LogContext): Reader {
  return eachLine((text, line) => readLine(text, line, context));
}

function readLine(text: string, line: number, context: LogContext): LineResult {
  const [, before = '', time = '', request = '', status = '', after = ''] = LINE.exec(text) ?? [];
  if (status === '') return { is: 'broken', line, why: 'Expected a line of a combined access log' };
  const clickedAt = combinedTimeMs(time);
  if (Number.isNaN(clickedAt)) {
    const why = `Expected a time such as 31/Jan/2026:12:00:00 +0000, got ${time}`;
    return { is: 'broken', line, why };
  }
  const [referrer, userAgent, ...others] = [...after.matchAll(QUOTED)].flatMap(([, quoted]) =>
    quoted === undefined ? [] : [unescaped(quoted)],
  );
  const client = clientOf(before);
  const addresses = others.findLast((other) => ADDRESSES.test(other) && other.split(',').some(isAddress));
  const logged = {
    ...splitRequest(unescaped(request)),
    clickedAt,
    precisionMs: SECOND_MS,
    status: Number(status),
    peer: client.peer,
    forwardedFor: addresses ?? client.forwardedFor,
    userAgent: presentText(userAgent),
    referrer: presentText(referrer),
  };
  return readingOf(logged, line, context);
}

/**
 * The client from the text before the time. If the second word is an address, the first one is the virtual host. Otherwise the first word is
 * the client; it can be a list (`%{X-Forwarded-For}i`), whose last address is the peer. Without an address (`HostnameLookups On`), both words
 * together identify the visitor.
 */
function clientOf(before: string): { peer: string; forwardedFor: string | null } {
  const words = before.trim().split(/\s+/);
  const [first = '', second = ''] = words;
  if (first.endsWith(',')) {
    const ends = words.findIndex((word) => !word.endsWith(','));
    const hops = words.slice(0, ends + 1).map((word) => word.replace(/,$/, ''));
    return { peer: hops.at(-1) ?? '', forwardedFor: hops.slice(0, -1).join(',') };
  }
  if (isAddress(second)) return { peer: second, forwardedFor: null };
  return { peer: isAddress(first) ? first : `${first} ${second}`, forwardedFor: null };
}

function isAddress(text: string): boolean {
  return isIP(withoutPort(text.trim())) !== 0;
}

/** Replaces escapes: nginx writes special characters as `\xHH`, Apache also with a backslash before the character. */
function unescaped(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/\\(?:x([0-9A-Fa-f]{2})|(.))/g, (_, hex?: string, character?: string) =>
    hex === undefined ? (character ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
