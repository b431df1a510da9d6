/*
 * Reads requests that have exactly one meaning, byte by byte. Everything else is `null`, so that node:http decides about it: this file
 * contains no error handling and no leniency. A byte that is not expressly allowed here is not plain.
 */
import type { IncomingHttpHeaders } from 'node:http';

/** Longest plain request, in bytes. Node's own limit for headers is higher. */
const REQUEST_BYTES_MAX = 8_192;
/** Most headers of a plain request. Node's own limit is higher. */
const HEADERS_MAX = 64;
/** Most plain requests in one chunk. */
const REQUESTS_MAX = 32;

/** A `GET` below `/c/` of HTTP/1.1 without a body, on a connection that stays open. */
export type PlainRequest = {
  /** Path and query. */
  readonly url: string;
  /** The headers that a redirect reads, and no others. */
  readonly headers: IncomingHttpHeaders;
};

/** The headers that a redirect reads. */
const READ = [
  'user-agent',
  'referer',
  'x-forwarded-for',
  'sec-fetch-mode',
  'sec-purpose',
  'purpose',
  'x-purpose',
  'x-moz',
  'traceparent',
] as const;
/** The headers that node:http acts on. A request with one of them is not plain. */
const NOT_PLAIN = [
  'content-length',
  'expect',
  'proxy-connection',
  'trailer',
  'transfer-encoding',
  'upgrade',
] as const;

type Name = (typeof READ)[number] | (typeof NOT_PLAIN)[number] | 'host' | 'connection';
type KnownHeader = {
  readonly name: Name;
  readonly isRead: boolean;
  readonly isPlain: boolean;
  readonly bit: number;
};

/** The known headers by the length of their names. */
const KNOWN: readonly (readonly KnownHeader[])[] = byLength();

function byLength(): KnownHeader[][] {
  const known: KnownHeader[][] = [];
  const names: readonly Name[] = [...READ, ...NOT_PLAIN, 'host', 'connection'];
  for (const [index, name] of names.entries()) {
    const isRead = (READ as readonly string[]).includes(name);
    const isPlain = !(NOT_PLAIN as readonly string[]).includes(name);
    for (let length = known.length; length <= name.length; length += 1) known.push([]);
    known[name.length]?.push({ name, isRead, isPlain, bit: 1 << index });
  }
  return known;
}

const HOST = KNOWN[4]?.find(({ name }) => name === 'host')?.bit ?? 0;

/** Kinds of bytes: of a header's name (RFC 9110 §5.6.2), of its value (ASCII alone), and of a target (RFC 3986, without a fragment). */
const [NAME, VALUE, TARGET] = [1, 2, 4];
const KINDS = new Uint8Array(256);
for (let byte = 0x20; byte < 0x7f; byte += 1) KINDS[byte] = VALUE;
KINDS[0x09] = VALUE;
markKind(NAME, "!#$%&'*+-.^_`|~");
markKind(TARGET, "/?:@!$&'()*+,;=%-._~");
markKind(NAME | TARGET, '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz');

function markKind(kind: number, characters: string): void {
  for (const byte of Buffer.from(characters)) KINDS[byte] = (KINDS[byte] ?? 0) | kind;
}

const [TAB, SPACE, COLON] = [0x09, 0x20, 0x3a];
const LINE_END = Buffer.from('\r\n');
const BEGIN = Buffer.from('GET /c/');
/** The target begins with the slash of `BEGIN`. */
const TARGET_AT = BEGIN.indexOf('/');
const VERSION = Buffer.from(' HTTP/1.1\r\n');
const KEEP_ALIVE = 'keep-alive';

/** Reads all requests in the first `length` of `bytes`. Returns `null` unless each of them is plain and the last one ends there. */
export function scanRequests(bytes: Buffer, length: number): PlainRequest[] | null {
  const requests: PlainRequest[] = [];
  let at = 0;
  while (at < length) {
    const end = requests.length < REQUESTS_MAX ? scanRequest(bytes, at, length, requests) : -1;
    if (end < 0) return null;
    at = end;
  }
  return requests;
}

/** Reads the request at `from` and adds it to `requests`. Returns where it ends, or -1 if it is not plain or not complete. */
function scanRequest(bytes: Buffer, from: number, length: number, requests: PlainRequest[]): number {
  const limit = Math.min(length, from + REQUEST_BYTES_MAX);
  if (!hasBytes(bytes, from, limit, BEGIN)) return -1;
  const targetAt = from + TARGET_AT;
  const targetEnd = skip(bytes, targetAt, limit, TARGET);
  if (!hasBytes(bytes, targetEnd, limit, VERSION)) return -1;
  const headers: IncomingHttpHeaders = {};
  const end = scanHeaders(bytes, targetEnd + VERSION.length, limit, headers);
  if (end >= 0) requests.push({ url: bytes.toString('latin1', targetAt, targetEnd), headers });
  return end;
}

/** Reads header lines up to the empty line into `headers`. Returns where the request ends, or -1 if it is not plain or not complete. */
function scanHeaders(bytes: Buffer, from: number, limit: number, headers: IncomingHttpHeaders): number {
  let at = from;
  let seen = 0;
  for (let count = 0; !hasBytes(bytes, at, limit, LINE_END); count += 1) {
    const nameEnd = skip(bytes, at, limit, NAME);
    if (nameEnd === at || nameEnd === limit || bytes[nameEnd] !== COLON || count === HEADERS_MAX) return -1;
    const valueAt = nameEnd + 1;
    const valueEnd = skip(bytes, valueAt, limit, VALUE);
    if (!hasBytes(bytes, valueEnd, limit, LINE_END)) return -1;
    const known = knownHeader(bytes, at, nameEnd - at);
    if (known !== null) {
      if (!known.isPlain || (seen & known.bit) !== 0) return -1;
      seen |= known.bit;
      if (known.isRead) headers[known.name] = trimmed(bytes, valueAt, valueEnd);
      else if (known.bit !== HOST && trimmed(bytes, valueAt, valueEnd).toLowerCase() !== KEEP_ALIVE)
        return -1;
    }
    at = valueEnd + LINE_END.length;
  }
  // Node answers 400 to a request without a host.
  return (seen & HOST) === 0 ? -1 : at + LINE_END.length;
}

/** Where the bytes of a kind end, at `limit` at the latest. */
function skip(bytes: Buffer, from: number, limit: number, kind: number): number {
  let at = from;
  while (at < limit && ((KINDS[bytes[at] as number] as number) & kind) !== 0) at += 1;
  return at;
}

function hasBytes(bytes: Buffer, at: number, limit: number, expected: Uint8Array): boolean {
  if (at + expected.length > limit) return false;
  for (let index = 0; index < expected.length; index += 1) {
    if (bytes[at + index] !== expected[index]) return false;
  }
  return true;
}

/** The known header whose name is at `at`, in any case of letters. */
function knownHeader(bytes: Buffer, at: number, length: number): KnownHeader | null {
  const candidates = KNOWN[length];
  if (candidates === undefined) return null;
  for (const candidate of candidates) {
    let index = 0;
    // Bit 0x20 makes letters lower case. It maps no other byte of a name to a letter or a dash.
    while (index < length && ((bytes[at + index] as number) | 0x20) === candidate.name.charCodeAt(index))
      index += 1;
    if (index === length) return candidate;
  }
  return null;
}

/** A value without the spaces and tabs around it. */
function trimmed(bytes: Buffer, from: number, to: number): string {
  let [start, end] = [from, to];
  while (start < end && isBlank(bytes[start])) start += 1;
  while (end > start && isBlank(bytes[end - 1])) end -= 1;
  return bytes.toString('latin1', start, end);
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB;
}
