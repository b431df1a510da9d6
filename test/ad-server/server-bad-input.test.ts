import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { adServerFixture } from '../support/ad-server-fixture.ts';
import { exchange, get, rawConnection, readToEnd } from '../support/raw-http.ts';
import { EVERGREEN_PATH } from '../support/redirect-fixture.ts';
import { until } from '../support/until.ts';

const TOKEN = EVERGREEN_PATH.slice('/c/'.length);

describe('a malformed link gets an error page', () => {
  it.each([
    ['nothing', '/c/'],
    ['an encoded NUL', '/c/%00'],
    ['a way up', '/c/../../etc/passwd'],
    ['a way up to the token', `/c/../c/${TOKEN}`],
    ['an encoded way up', `/c/%2e%2e%2f${TOKEN}`],
    ['a backslash', `/c\\${TOKEN}`],
    ['ten thousand characters', `/c/${'A'.repeat(10_000)}`],
    ['ten thousand characters behind the token', `${EVERGREEN_PATH}${'A'.repeat(10_000)}`],
    ['ten thousand dots', `/c/${'.'.repeat(10_000)}`],
    ['a query of ten thousand characters', `/c/x?${'a'.repeat(10_000)}`],
    ['an encoded lone surrogate', '/c/%ED%A0%80'],
    ['an encoding that is none', '/c/%zz%'],
    ['base64 of another alphabet', `/c/${TOKEN.slice(0, -2)}+/`],
    ['a tag cut short', EVERGREEN_PATH.slice(0, -1)],
    ['an altered tag', `${EVERGREEN_PATH.slice(0, -2)}00`],
    ['a script', '/c/<script>alert(1)</script>'],
    ['the asterisk', '*'],
    ['another path', '/favicon.ico'],
  ])('404: %s', async (_, path) => {
    const { port, fixture } = await adServerFixture({ recording: false });
    const [answer, ...more] = await exchange(port, get(path));
    expect(answer).toMatchObject({
      status: 404,
      headers: {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'tollway-click': 'none',
        'content-length': String(Buffer.byteLength(answer?.body ?? '')),
      },
      body: expect.stringContaining('<h1>Link not found</h1>'),
    });
    expect(more).toEqual([]);
    expect(fixture.waiting).toEqual([]);
    expect(answer?.body).not.toContain('script>alert');
  });

  it.each([
    ['a lone surrogate', Buffer.from([0xed, 0xa0, 0x80])],
    ['a NUL', Buffer.from([0])],
    ['every byte there is', Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
    ['high bytes', Buffer.from([0xff, 0xfe, 0xc0, 0x80])],
  ])('without status 500: raw bytes of %s', async (_, raw) => {
    const { port, fixture } = await adServerFixture({ recording: false });
    const [before = '', after = ''] = get('/c/#').split('#');
    const [answer] = await exchange(port, Buffer.concat([Buffer.from(before), raw, Buffer.from(after)]));
    expect([400, 404]).toContain(answer?.status);
    expect(fixture.waiting).toEqual([]);
    expect((await exchange(port, get('/nowhere')))[0]?.status).toBe(404);
  });

  it('with HEAD, without the page', async () => {
    const { port } = await adServerFixture();
    const socket = await rawConnection(port);
    const answers = readToEnd(socket, ['HEAD']);
    socket.write(get('/c/x').replace('GET', 'HEAD'));
    expect(await answers).toEqual([expect.objectContaining({ status: 404, body: '' })]);
  });
});

describe('a request that cannot be read', () => {
  it.each([
    ['garbage', 'GARBAGE\r\n\r\n'],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['a header without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n'],
    ['two lengths', 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    [
      'a length beside chunks',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: x\r\nCookie: a\0b\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
  ])('gets a 400 and a closed connection: %s', async (_, bytes) => {
    const { port } = await adServerFixture();
    const answers = await exchange(port, bytes);
    expect(answers).toEqual([expect.objectContaining({ status: 400 })]);
    expect((await exchange(port, get(EVERGREEN_PATH)))[0]?.status).toBe(302);
  });

  it.each([
    ['one long header', `Cookie: ${'a'.repeat(20_000)}\r\n`],
    ['many headers', Array.from({ length: 400 }, (_, index) => `X-${index}: ${'a'.repeat(60)}\r\n`).join('')],
  ])('gets a 431 for %s', async (_, headers) => {
    const { port } = await adServerFixture();
    const [answer] = await exchange(port, get(EVERGREEN_PATH, headers));
    expect(answer).toMatchObject({
      status: 431,
      headers: { connection: 'close', 'cache-control': 'no-store' },
    });
  });

  it('is refused if its path is longer than the maximum header block', async () => {
    const { port } = await adServerFixture();
    const [answer] = await exchange(port, get(`/c/${'A'.repeat(60_000)}`));
    expect([404, 414, 431]).toContain(answer?.status);
  });

  it('can have ordinary headers of 12 000 bytes', async () => {
    const { port } = await adServerFixture();
    const [answer] = await exchange(
      port,
      get(EVERGREEN_PATH, `Cookie: ${'a'.repeat(12_000)}\r\nConnection: close\r\n`),
    );
    expect(answer?.status).toBe(302);
  });

  it('is closed when its headers arrive too slowly; other connections stay open', async () => {
    const { port, server } = await adServerFixture();
    // Node checks this every few seconds. Only the limit is lower here.
    server.headersTimeout = 200;
    const socket = await rawConnection(port);
    const ended = once(socket, 'close');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
    await ended;
    expect(Buffer.concat(chunks).toString('latin1')).toMatch(/^HTTP\/1\.1 40[08] /);
    expect((await exchange(port, get(EVERGREEN_PATH)))[0]?.status).toBe(302);
  });

  it('does not affect others when many arrive at a time', async () => {
    const { port } = await adServerFixture();
    const bad = ['GARBAGE\r\n\r\n', get('/c/%00'), get(`/c/${'A'.repeat(30_000)}`), '\0\0\0\0'];
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        exchange(port, index % 2 === 0 ? get(EVERGREEN_PATH) : (bad[index % bad.length] ?? '')),
      ),
    );
    const redirects = answers.filter(([answer]) => answer?.status === 302);
    expect(redirects).toHaveLength(30);
    await until(
      'a good answer after all',
      async () => (await exchange(port, get(EVERGREEN_PATH))).length === 1,
    );
  });
});
