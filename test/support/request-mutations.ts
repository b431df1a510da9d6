/** Requests for links as browsers, programs and proxies send them, and mutations of them, as bytes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { evergreenLink, impressionLink } from '../../contract/link-token.ts';
import { DAY_MS } from './link-samples.ts';
import type { Random } from './random.ts';
import { CHROME, sign } from './redirect-fixture.ts';

type Recorded = {
  readonly target?: string;
  readonly raw?: string;
  readonly headers?: readonly string[];
  readonly ua?: string;
};
const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'vectors', 'requests.json'), 'utf8'),
) as readonly Recorded[];

/** Headers beside Host that browsers and proxies send with a click. */
const BROWSERS: readonly (readonly string[])[] = [
  [
    'Connection: keep-alive',
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
    'sec-ch-ua-mobile: ?0',
    'Upgrade-Insecure-Requests: 1',
    `User-Agent: ${CHROME}`,
    'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8',
    'Sec-Fetch-Site: cross-site',
    'Sec-Fetch-Mode: navigate',
    'Sec-Fetch-User: ?1',
    'Sec-Fetch-Dest: document',
    'Referer: https://news.example/front/page?a=1',
    'Accept-Encoding: gzip, deflate, br, zstd',
    'Accept-Language: en-US,en;q=0.9',
    'Cookie: a=b; session=0123456789abcdef',
  ],
  [
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0',
    'Accept: text/html,application/xhtml+xml',
    'Accept-Language: de,en-US;q=0.7,en;q=0.3',
    'Connection: keep-alive',
    'Priority: u=0, i',
  ],
  [
    'x-forwarded-for: 203.0.113.9, 198.51.100.7',
    'x-forwarded-proto: https',
    'x-request-id: 5b6b8f4e',
    'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    'user-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile Safari/604.1',
    'accept: */*',
  ],
  [
    'User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    'From: a@b.example',
  ],
  ['User-Agent:   spaces around \t ', 'Sec-Fetch-Mode: no-cors', 'Accept:'],
  [`User-Agent: ${CHROME}`, 'Sec-Purpose: prefetch;prerender', 'Purpose: prefetch'],
  [`User-Agent: ${CHROME}`, 'X-Moz: prefetch'],
  [],
];

const TAILS = ['', '', '', '?utm_source=news&sub1=a%20b', '?a=1&a=2', '.', '/', '?', '&x=y', '?q=%zz', ';x'];

/** The target of a request: mostly a valid link. */
function target(random: Random): string {
  const tail = random.pick(TAILS);
  switch (random.below(10)) {
    case 0:
      return `/c/${sign(impressionLink(42, DAY_MS)).slice(0, -1)}x${tail}`;
    case 1:
      return `/c/${sign(evergreenLink(41))}${tail}`;
    case 2:
      return `/c/${sign(impressionLink(42, DAY_MS, null, Date.now() - 2 * DAY_MS))}${tail}`;
    case 3:
      return `/c/${sign(evergreenLink(42, 'site-1'))}${tail}`;
    default:
      return `/c/${sign(impressionLink(42, DAY_MS))}${tail}`;
  }
}

/** A request as a browser or a proxy sends it. */
export function plainRequest(random: Random): Buffer {
  const lines = [`GET ${target(random)} HTTP/1.1`, 'Host: go.example', ...random.pick(BROWSERS)];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** A recorded request of a browser, a program or a proxy. */
export function recordedRequest(random: Random): Buffer {
  const { raw, target: path = '', headers = [], ua = CHROME } = random.pick(recorded);
  const text =
    raw ?? [`GET ${path} HTTP/1.1`, 'Host: go.example', `User-Agent: ${ua}`, ...headers, '', ''].join('\r\n');
  const filled = text
    .replaceAll('{I}', () => sign(impressionLink(42, DAY_MS)))
    .replaceAll('{E}', () => sign(evergreenLink(42)))
    .replaceAll('{UA}', CHROME);
  return Buffer.from(filled, 'latin1');
}

/** Header lines with a meaning for the server, right and wrong. */
const LINES = [
  'Content-Length: 5',
  'Content-Length: 0',
  'content-length : 0',
  'Content-Length: +0',
  'Content-Length: 0, 0',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding:\tchunked',
  'transfer_encoding: chunked',
  'Transfer-Encoding : chunked',
  'TE: trailers',
  'Trailer: x',
  'Expect: 100-continue',
  'Expect: x',
  'Upgrade: websocket',
  'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
  'Connection: close',
  'Connection: Keep-Alive',
  'Connection: upgrade',
  'Connection: keep-alive, x',
  'Connection:',
  'Connection: keep-alive\t',
  'Proxy-Connection: close',
  'Keep-Alive: timeout=5',
  'Host: other.example',
  'Host:',
  'User-Agent: second',
  'Referer: second',
  'Sec-Purpose: prefetch',
  'X-Purpose: preview',
  'X-Forwarded-For: 192.0.2.1',
  'Cookie: a=\xe4\xff',
  'Cookie: a\x01b',
  ' folded',
  '\tfolded',
  ': no name',
  'no colon',
  'bad name: x',
  'b\xe4d: x',
  '__proto__: x',
  'constructor: y',
  `X-Long: ${'a'.repeat(9_000)}`,
  `Cookie: ${'b'.repeat(17_000)}`,
];
const BYTES = [
  0, 1, 9, 10, 11, 13, 32, 33, 34, 35, 37, 44, 45, 47, 58, 59, 60, 63, 64, 92, 95, 123, 127, 128, 160, 255,
];
const TEXTS = [
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\r',
  '\n\n',
  '\r\n ',
  '  ',
  ': ',
  'HTTP/1.0',
  ' HTTP/1.1\r\n',
  'GET /c/',
  '0\r\n\r\n',
  '#x',
  '//',
  '%0d%0a',
];
/** Without CONNECT and PRI: node:http closes their connections at once, and earlier requests get an answer or not. */
const METHODS = ['HEAD', 'POST', 'get', 'GE', 'GETT', 'PUT', 'OPTIONS', 'M-SEARCH'];
const VERSIONS = ['HTTP/1.0', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.1 ', 'HTTP/0.9', ''];

/** Changes the bytes of a request in one place. */
export function mutate(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const insert = (added: string, where = at) =>
    Buffer.concat([bytes.subarray(0, where), Buffer.from(added, 'latin1'), bytes.subarray(where)]);
  const line = lineStart(bytes, at);
  switch (random.below(12)) {
    case 0:
      return change(bytes, at, random.pick(BYTES));
    case 1:
      return change(bytes, at, random.below(256));
    case 2:
      return insert(String.fromCharCode(random.pick(BYTES)));
    case 3:
      return insert(random.pick(TEXTS));
    case 4:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(4))]);
    case 5:
      return bytes.subarray(0, at);
    case 6:
      return insert(bytes.subarray(line, lineStart(bytes, at, 1)).toString('latin1'), line);
    case 7:
      return change(bytes, at, (bytes[at] ?? 0) ^ 0x20);
    case 8:
      return replaced(bytes, /^\S*/, random.pick(METHODS));
    case 9:
      return replaced(bytes, /HTTP\/1\.1/, random.pick(VERSIONS));
    default:
      return insert(`${random.pick(LINES)}\r\n`, line);
  }
}

function change(bytes: Buffer, at: number, byte: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at % changed.length] = byte;
  return changed;
}

function replaced(bytes: Buffer, pattern: RegExp, text: string): Buffer {
  return Buffer.from(bytes.toString('latin1').replace(pattern, text), 'latin1');
}

/** Where the line of a byte starts, or a line behind it. */
function lineStart(bytes: Buffer, at: number, lines = 0): number {
  let start = bytes.lastIndexOf('\n', Math.max(0, at - 1)) + 1;
  for (let line = 0; line < lines; line += 1) {
    const end = bytes.indexOf('\n', start);
    start = end < 0 ? bytes.length : end + 1;
  }
  return start;
}

/** Splits bytes at random places; rarely at every byte. */
export function split(bytes: Buffer, random: Random): Buffer[] {
  if (bytes.length === 0) return [];
  if (random.chance(0.005)) return Array.from(bytes, (byte) => Buffer.from([byte]));
  const cuts = random.chance(0.6)
    ? []
    : Array.from({ length: 1 + random.below(3) }, () => random.below(bytes.length));
  const ends = [...new Set([...cuts, bytes.length])]
    .filter((end) => end > 0)
    .sort((one, other) => one - other);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}
