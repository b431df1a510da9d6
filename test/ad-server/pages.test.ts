import { createHash } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createErrorPages, renderErrorPage } from '../../ad-server/http/error-pages.ts';
import { readVersion } from '../../common/version.ts';
import { sampleTemplate } from '../../ledger/accounts/sample-advertisers.ts';
import { parseUrlTemplate } from '../../ledger/accounts/url-template.ts';
import { adServerFixture } from '../support/ad-server-fixture.ts';
import { readPage } from '../support/markdown.ts';
import { exchange, get, rawConnection, readToEnd } from '../support/raw-http.ts';
import { counterValue, EVERGREEN_PATH, sampleAd } from '../support/redirect-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const coffee = sampleAd({ urlTemplate: sampleTemplate('coffee') });
const CLICK = '01a21ba3-6dae-761d-8ca5-30a5e1f3a543';
const SAMPLE_PATH = `/sample/coffee?click=${CLICK}&ad=42`;

/** The answer to a `GET`. */
async function page(port: number, path: string, more?: string) {
  const [answer] = await exchange(port, get(path, more));
  if (answer === undefined) throw new Error(`Expected an answer to ${path}`);
  return answer;
}

/** Fails if a browser would render a page incorrectly, or load or run anything for it. */
function expectPlainPage({ headers, body }: { headers: Readonly<Record<string, string>>; body: string }) {
  const [, style = ''] = /<style>(.*?)<\/style>/s.exec(body) ?? [];
  const hash = createHash('sha256').update(style).digest('base64');
  expect(headers['content-security-policy']).toBe(
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  );
  expect(headers).toMatchObject({ 'cache-control': 'no-store', 'content-type': 'text/html; charset=utf-8' });
  expect(body).not.toMatch(/<script|<img|<link|<form| on\w+=| style=|https?:/);
}

describe('the start page of the public port', () => {
  it('explains the server without the name of the product or its version', async () => {
    const { port, fixture } = await adServerFixture();
    const answer = await page(port, '/');
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('This server redirects ad clicks.');
    expect(answer.body.toLowerCase()).not.toContain('tollway');
    expect(answer.body).not.toContain(readVersion());
    expect(answer.headers['tollway-click']).toBe('none');
    expectPlainPage(answer);
    expect(await counterValue(fixture.metrics.redirects, { answer: 'page' })).toBe(1);
    expect(fixture.waiting).toEqual([]);
  });

  it.each(['/?utm_source=a', 'http://go.example/', 'http://go.example/?a'])(
    'is found as %s',
    async (path) => {
      const { port } = await adServerFixture();
      expect((await page(port, path)).status).toBe(200);
    },
  );

  it.each(['//', '/index.html', '/%2f', '*', '/sample', '/sample/'])('is not at %s', async (path) => {
    const { port } = await adServerFixture();
    expect((await page(port, path)).status).toBe(404);
  });

  it('has the same headers with HEAD, and no body', async () => {
    const { port } = await adServerFixture();
    const { body, headers } = await page(port, '/');
    const socket = await rawConnection(port);
    socket.write(get('/').replace('GET', 'HEAD'));
    const [answer] = await readToEnd(socket, ['HEAD']);
    expect(answer).toMatchObject({ status: 200, body: '' });
    expect(answer?.headers['content-length']).toBe(String(Buffer.byteLength(body)));
    expect(answer?.headers['content-security-policy']).toBe(headers['content-security-policy']);
  });
});

describe('the page of a sample ad', () => {
  it('is the destination of a click on the ad, on any host and port', async () => {
    const { port } = await adServerFixture({ ad: coffee });
    const clicked = await page(port, EVERGREEN_PATH);
    const clickId = clicked.headers['tollway-click'] ?? '';
    expect(clicked.headers.location).toBe(`/sample/coffee?click=${clickId}&ad=42`);
    const answer = await page(port, clicked.headers.location ?? '');
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('You clicked an ad of Sample Coffee');
    expect(answer.body).toContain('0.25 USD will be charged to Sample Coffee');
    expect(answer.body).toContain(`npx tollway click show ${clickId}`);
    expect(answer.body).toContain('<a href="/">');
    expect(answer.headers['tollway-click']).toBe('none');
    expectPlainPage(answer);
  });

  it.each([
    ['has another price', { priceMicros: 1_000_001 }, '1.000001 USD will be charged'],
    ['is paused', { paused: true }, 'The ad is paused, so the click costs nothing.'],
    ['has ended', { endsAt: 1 }, 'The campaign is not running now, so the click costs nothing.'],
    [
      'has no budget left',
      { exhaustedUntil: Number.MAX_SAFE_INTEGER },
      'no longer pays for this ad, so the click costs nothing.',
    ],
  ])('shows the cost of the click when the ad %s', async (_, change, text) => {
    const { port } = await adServerFixture({ ad: { ...coffee, ...change } });
    expect((await page(port, SAMPLE_PATH)).body).toContain(text);
  });

  it.each([
    ['of an ad that leads elsewhere', sampleAd(), SAMPLE_PATH],
    ['of another sample', sampleAd({ urlTemplate: sampleTemplate('shoes') }), SAMPLE_PATH],
    ['of an unknown ad', coffee, SAMPLE_PATH.replace('42', '43')],
    ['of an unknown sample', coffee, SAMPLE_PATH.replace('coffee', 'tea')],
    ['of a name that objects have', coffee, SAMPLE_PATH.replace('coffee', 'constructor')],
    ['without an ad', coffee, SAMPLE_PATH.replace('&ad=42', '')],
    ['without a click', coffee, '/sample/coffee?ad=42'],
    ['with a click that is none', coffee, '/sample/coffee?ad=42&click=<script>alert(1)</script>'],
    ['with more behind the click', coffee, `/sample/coffee?ad=42&click=${CLICK}%0A<b>`],
  ])('is not found: %s', async (_, ad, path) => {
    const { port } = await adServerFixture({ ad });
    const answer = await page(port, path);
    expect(answer.status).toBe(404);
    expect(answer.body).not.toMatch(/<b>|<script|Sample/);
  });

  it('cannot be made the destination of an ad on the command line', () => {
    expect(() => parseUrlTemplate(sampleTemplate('coffee'))).toThrow('Expected an absolute URL');
  });
});

const UNREADABLE = 'GARBAGE\r\n\r\n';
const TOO_LARGE = get('/', `Cookie: ${'a'.repeat(20_000)}\r\n`);
const NOT_FOUND = get('/c/x');

describe('an error page', () => {
  it.each([
    ['a link that is not known', NOT_FOUND, 404, 'Link not found'],
    ['a request without meaning', UNREADABLE, 400, 'Bad request'],
    ['headers that are too large', TOO_LARGE, 431, 'Bad request'],
    ['a POST', get('/').replace('GET', 'POST'), 405, 'Method not allowed'],
    ['a prefetch', get(EVERGREEN_PATH, 'Sec-Purpose: prefetch\r\nConnection: close\r\n'), 503, 'Try again'],
  ])('for %s does not name the software', async (_, bytes, status, title) => {
    const { port } = await adServerFixture();
    const [answer] = await exchange(port, bytes);
    expect(answer?.status).toBe(status);
    expect(answer?.body).toContain(`<h1>${title}`);
    expect(answer?.body).not.toMatch(/tollway|spool|broker|catalog|database|node/i);
    if (answer !== undefined) expectPlainPage(answer);
  });

  it('comes from the template of ERROR_PAGE_FILE, with its values escaped', async () => {
    const path = join(temporaryFolder(), 'error.html');
    const template =
      '\ufeff<title>{title}</title><style>p { margin: 0 }</style><p class="s{status}">{message} é {title} $& {other}';
    writeFileSync(path, template);
    const { port } = await adServerFixture({ errorPageFile: path });
    for (const [bytes, status, title] of [
      [NOT_FOUND, 404, 'Link not found'],
      [UNREADABLE, 400, 'Bad request'],
      [TOO_LARGE, 431, 'Bad request'],
    ] as const) {
      const [answer] = await exchange(port, bytes);
      const body = Buffer.from(answer?.body ?? '', 'latin1').toString();
      expect(answer?.status).toBe(status);
      expect(body).toContain(`<title>${title}</title><style>p { margin: 0 }</style><p class="s${status}">`);
      expect(body).toContain(`No click was recorded.`);
      expect(body).toMatch(new RegExp(` é ${title} \\$& \\{other\\}$`));
      // A page from a template can load other resources.
      expect(answer?.headers['content-security-policy']).toBeUndefined();
    }
    const socket = await rawConnection(port);
    socket.write(NOT_FOUND.replace('GET', 'HEAD'));
    const [head] = await readToEnd(socket, ['HEAD']);
    const [whole] = await exchange(port, NOT_FOUND);
    expect(head).toMatchObject({ status: 404, body: '' });
    expect(head?.headers['content-length']).toBe(String(whole?.body.length));
  });

  it.each([null, '<title>{title}</title><h1>{title}</h1><p>{message}</p>'])(
    'shows its text as text, with the template %j',
    (template) => {
      const html = renderErrorPage(template, { status: 404, title: `<b a='b'>`, message: '"&amp;</p>' });
      expect(html).toContain('<title>&lt;b a=&#39;b&#39;&gt;</title>');
      expect(html).toContain('<h1>&lt;b a=&#39;b&#39;&gt;</h1>');
      expect(html).toContain('<p>&quot;&amp;amp;&lt;/p&gt;</p>');
    },
  );

  it('can be the example of docs/running.md', () => {
    const [, example = ''] = /```html\n(.*?)```/s.exec(readPage('docs/running.md')) ?? [];
    const path = join(temporaryFolder(), 'error.html');
    writeFileSync(path, example);
    const html = createErrorPages(path).pages.notFound.toString();
    expect(html).toContain('<h1>Link not found</h1>');
    expect(html).toContain('<p>Error 404, ');
    expect(html).not.toMatch(/\{\w+\}/);
  });

  it('can be a symbolic link, as Kubernetes mounts a ConfigMap, to a file of exactly 64 KiB', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'real.html'), '{message}'.padEnd(65_536));
    symlinkSync('real.html', join(folder, 'error.html'));
    expect(createErrorPages(join(folder, 'error.html')).pages.notFound.toString()).toContain('No click');
  });
});

describe('an ERROR_PAGE_FILE', () => {
  it.each([
    ['that is missing', null, 'expected a file that can be read, got ENOENT'],
    ['that is empty', '', 'expected the placeholder {message}, found none'],
    ['without {message}', '<p>{status} {title}', 'expected the placeholder {message}, found none'],
    ['of more than 64 KiB', '{message}'.padEnd(65_537), 'expected at most 65536 bytes, got 65537'],
    ['in another encoding', Buffer.from('{message} é', 'latin1'), 'expected UTF-8, got other bytes'],
  ])('%s stops the start', (_, content, message) => {
    const path = join(temporaryFolder(), 'error.html');
    if (content !== null) writeFileSync(path, content);
    expect(() => createErrorPages(path)).toThrow(
      expect.objectContaining({ code: 'bad_error_page', message: expect.stringContaining(message) }),
    );
    expect(() => createErrorPages(path)).toThrow(path);
  });

  it('that is a folder stops the start', () => {
    const path = join(temporaryFolder(), 'folder');
    mkdirSync(path);
    expect(() => createErrorPages(path)).toThrow(
      `ERROR_PAGE_FILE: expected a file, got something else: ${path}`,
    );
  });
});
