import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { impressionLink } from '../../contract/link-token.ts';
import { adServerFixture } from '../support/ad-server-fixture.ts';
import { DAY_MS } from '../support/link-samples.ts';
import { exchange } from '../support/raw-http.ts';
import { CHROME, decode, EVERGREEN_PATH, sign } from '../support/redirect-fixture.ts';

/** A request of a browser, a program or a proxy, based on public bug reports. */
type Case = {
  readonly id: string;
  readonly target?: string;
  readonly raw?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
  readonly ua?: string;
  readonly noua?: boolean;
};

const cases = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'vectors', 'requests.json'), 'utf8'),
) as readonly Case[];
const caseOf = (id: string): Case => {
  const found = cases.find((one) => one.id === id);
  if (!found) throw new Error(`Expected the case ${id}`);
  return found;
};

/** Cases whose clicks are recorded as invalid, with the reason. */
const INVALID: Readonly<Record<string, string>> = {
  'img-tag': 'not_navigation',
  'program-powershell': 'bot',
  'preview-viber': 'bot',
};
/** Cases that are not clicks, with the status. Node's parser refuses bare line feeds. */
const REFUSED: Readonly<Record<string, number>> = { 'lf-only': 400 };

const impression = () => sign(impressionLink(42, DAY_MS));

/** The bytes of a request, with a new link in place of each `{I}`. */
function bytesOf({ target = '', raw, headers = [], body, ua = CHROME, noua = false }: Case): string {
  const filled = (text: string) =>
    text
      .replaceAll('{I}', impression)
      .replaceAll('{E}', EVERGREEN_PATH.slice('/c/'.length))
      .replaceAll('{UA}', CHROME);
  if (raw !== undefined) return filled(raw);
  const lines = [
    `GET ${filled(target)} HTTP/1.1`,
    'Host: go.example',
    ...(noua ? [] : [`User-Agent: ${ua}`]),
    ...headers,
    'Connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body ?? ''}`;
}

async function send(request: Case, options: Parameters<typeof adServerFixture>[0] = {}) {
  const { port, fixture } = await adServerFixture({ ...options, recording: true });
  const clicks: string[] = [];
  const { push } = fixture.waiting;
  fixture.waiting.push = (...waiting) => {
    clicks.push(...waiting.map(({ encoded }) => encoded));
    return push.apply(fixture.waiting, waiting);
  };
  const answers = (await exchange(port, bytesOf(request))).filter(({ status }) => status !== 100);
  return { answers, clicks: clicks.map(decode) };
}

describe('a real request', () => {
  it.each(cases.map((request) => [request.id, request] as const))('%s', async (id, request) => {
    const { answers, clicks } = await send(request);
    if (REFUSED[id] !== undefined) {
      expect(answers.map(({ status }) => status)).toEqual([REFUSED[id]]);
      expect(clicks).toEqual([]);
      return;
    }
    const count = id === 'pipelined2' ? 2 : 1;
    expect(answers.map(({ status }) => status)).toEqual(Array(count).fill(302));
    expect(clicks.map(({ invalid }) => invalid)).toEqual(Array(count).fill(INVALID[id] ?? null));
    expect(answers.map(({ headers }) => headers['tollway-click'])).toEqual(
      clicks.map(({ clickId }) => clickId),
    );
  });

  it.each([
    '.',
    '...',
    '/',
    ',',
    ')',
    ').',
    '&utm_source=news',
    ';jsessionid=1',
    '"',
    '%22',
    "'",
    '%20',
    '%E2%80%9D',
    '>',
    '/?utm=1',
    '.?utm=1',
    '#fragment',
  ])('with %s after the token is a click on the link', async (tail) => {
    const { answers, clicks } = await send({ id: '', target: `/c/{I}${tail}` });
    expect(answers.map(({ status }) => status)).toEqual([302]);
    expect(clicks.map(({ invalid, adId }) => [invalid, adId])).toEqual([[null, 42]]);
  });

  it.each(['//c/{I}', '/c//{I}', '//c//{I}/', 'http://go.example//c/{I}.'])(
    'as %s is a click of that link',
    async (target) => {
      const { answers } = await send({ id: '', target });
      expect(answers.map(({ status }) => status)).toEqual([302]);
    },
  );

  it('can have a query of any length that fits into the headers', async () => {
    const { answers } = await send({ id: '', target: `/c/{I}?q=${'a'.repeat(15_000)}` });
    expect(answers.map(({ status }) => status)).toEqual([302]);
  });

  it.each([
    ['one more character of a token', (token: string) => `${token}A`],
    ['one more character and a dot', (token: string) => `${token}A.`],
    ['one character less', (token: string) => token.slice(0, -1)],
    ['another tag', (token: string) => `${token.slice(0, -22)}${'A'.repeat(22)}`],
    ['something before it', (token: string) => `x${token}`],
    ['a segment before it', (token: string) => `x/${token}`],
    ['a dot in front', (token: string) => `.${token}`],
  ])('with %s is not found, because the tag covers the whole token', async (_, change) => {
    const { answers, clicks } = await send({ id: '', target: `/c/${change(impression())}` });
    expect(answers.map(({ status }) => status)).toEqual([404]);
    expect(clicks).toEqual([]);
  });
});

describe('a click URL that a page loads', () => {
  it.each(['no-cors', 'cors', 'same-origin', 'websocket', ''])(
    'with Sec-Fetch-Mode "%s" is redirected, is not charged, and spends no nonce',
    async (mode) => {
      const { port, fixture } = await adServerFixture({ recording: true });
      const encoded: string[] = [];
      const { push } = fixture.waiting;
      fixture.waiting.push = (...waiting) => {
        encoded.push(...waiting.map((one) => one.encoded));
        return push.apply(fixture.waiting, waiting);
      };
      const target = `/c/${impression()}`;
      const request = (headers: readonly string[]) => exchange(port, bytesOf({ id: '', target, headers }));
      const [image] = await request([`Sec-Fetch-Mode: ${mode}`, 'Sec-Fetch-Dest: image']);
      expect(image?.status).toBe(302);
      const [person] = await request(['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document']);
      expect(person?.status).toBe(302);
      const clicks = encoded.map(decode);
      expect(clicks.map(({ invalid }) => invalid)).toEqual(['not_navigation', null]);
      expect(clicks[0]?.nonce).toBe(clicks[1]?.nonce);
    },
  );

  it('in a frame is a navigation', async () => {
    const headers = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: iframe'];
    const { clicks } = await send({ id: '', target: '/c/{I}', headers });
    expect(clicks.map(({ invalid }) => invalid)).toEqual([null]);
  });
});

describe('a click without a user agent', () => {
  const without = [
    ['missing', { id: '', target: '/c/{I}', noua: true }],
    ['empty', { id: '', target: '/c/{I}', ua: '' }],
    ['a dash', { id: '', target: '/c/{I}', ua: '-' }],
  ] as const;

  it.each(without)('(%s) is a person by default', async (_, request) => {
    const { clicks } = await send(request);
    expect(clicks.map(({ invalid }) => invalid)).toEqual([null]);
  });

  it.each(without)('(%s) is a bot with NO_USER_AGENT=bot', async (_, request) => {
    const { clicks } = await send(request, { noUserAgent: 'bot' });
    expect(clicks.map(({ invalid }) => invalid)).toEqual(['bot']);
  });
});

it('clicks with user agents that a CDN hides are counted and not judged as bots', async () => {
  const { port, fixture } = await adServerFixture({ recording: true });
  await exchange(port, bytesOf(caseOf('anybody-behind-cloudfront')));
  await exchange(port, bytesOf(caseOf('plain')));
  expect((await fixture.metrics.hiddenAgents.get()).values[0]?.value).toBe(1);
});
