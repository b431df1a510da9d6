import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { checkedAddresses } from '../../../console/webhooks/address-check.ts';
import { type SendOptions, send } from '../../../console/webhooks/send.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const INTERIM = 'HTTP/1.1 103 Early Hints\r\n\r\n';
const MESSAGE = { id: 'evt_1', body: '{"type":"webhook.test"}' };

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A server that answers each connection by hand. */
const rawServer = (answer: (socket: Socket) => void) =>
  listen(createServer((socket) => void socket.once('data', () => answer(socket))));

async function attempt(url: string, options: Partial<SendOptions> = {}) {
  const never = new AbortController().signal;
  return send({ url, secrets: [SECRET] }, MESSAGE, {
    rule: 'private',
    resolve: async () => ['127.0.0.1'],
    signal: never,
    ...options,
  });
}

describe('an attempt', () => {
  it.each([200, 201, 204, 299])('succeeds with %i', async (status) => {
    const port = await listen(createHttp((_, response) => void response.writeHead(status).end()));
    expect(await attempt(`http://127.0.0.1:${port}/`)).toMatchObject({ statusCode: status, error: null });
  });

  it.each([300, 301, 302, 307, 308])('fails with %i and follows no redirect', async (status) => {
    let requests = 0;
    const port = await listen(
      createHttp((_, response) => {
        requests += 1;
        response.writeHead(status, { location: '/elsewhere' }).end();
      }),
    );
    expect(await attempt(`http://127.0.0.1:${port}/`)).toMatchObject({
      statusCode: status,
      error: `Expected a status of 200–299, got ${status}: redirects are not followed. Change the URL of the webhook`,
    });
    expect(requests).toBe(1);
  });

  it.each([
    ['30', 30_000],
    [' 5 ', 5_000],
    ['-1', null],
    ['soon', null],
    ['1e9', null],
    ['Wed, 21 Oct 2015 07:28:00 GMT', null],
    ['2026-01-01', null],
  ])('reads Retry-After: %s', async (value, expected) => {
    const port = await listen(
      createHttp((_, response) => void response.writeHead(503, { 'retry-after': value }).end()),
    );
    expect(await attempt(`http://127.0.0.1:${port}/`)).toMatchObject({ retryAfterMs: expected });
  });

  it('reads Retry-After with a date', async () => {
    const date = new Date(Date.now() + 60_000).toUTCString();
    const port = await listen(
      createHttp((_, response) => void response.writeHead(429, { 'retry-after': date }).end()),
    );
    const { retryAfterMs } = await attempt(`http://127.0.0.1:${port}/`);
    expect(retryAfterMs).toBeGreaterThan(50_000);
    expect(retryAfterMs).toBeLessThanOrEqual(60_000);
  });

  it.each([
    ['says nothing', () => {}],
    [
      'sends its header a byte at a time',
      (socket: Socket) => drip(socket, 'HTTP/1.1 200 OK\r\nX-Long: ', () => 'x'),
    ],
    ['sends interim answers without end', (socket: Socket) => drip(socket, INTERIM, () => INTERIM)],
  ])('ends in time if the receiver %s', async (_, answer: (socket: Socket) => void) => {
    const port = await rawServer(answer);
    const startedAt = performance.now();
    const result = await attempt(`http://127.0.0.1:${port}/`, { msMax: 300 });
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(result).toMatchObject({ statusCode: null, error: 'No answer within 0.3 s' });
  });

  it('ends in time if the name is not resolved', async () => {
    const resolve = () => new Promise<never>(() => {});
    const result = await attempt('http://example.com/', { resolve, msMax: 100 });
    expect(result).toMatchObject({ statusCode: null, error: 'No answer within 0.1 s' });
  });

  it('ends in time if the receiver accepts and drips its answer without end', async () => {
    const port = await rawServer((socket) => drip(socket, 'HTTP/1.1 200 OK\r\n\r\n', () => 'x'));
    const startedAt = performance.now();
    expect(await attempt(`http://127.0.0.1:${port}/`, { msMax: 300 })).toMatchObject({
      statusCode: 200,
      error: null,
    });
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });

  it('reads at most 64 kB of an answer without end', async () => {
    let sent = 0;
    const port = await rawServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const chunk = Buffer.alloc(65_536, 'x');
      const more = () => {
        while (!socket.destroyed && socket.write(chunk)) sent += chunk.length;
        sent += chunk.length;
      };
      socket.on('drain', more);
      more();
    });
    expect(await attempt(`http://127.0.0.1:${port}/`)).toMatchObject({ statusCode: 200, error: null });
    // The buffers of both sockets are full before the connection is closed.
    expect(sent).toBeLessThan(16_000_000);
  });

  it.each([
    [
      'resets the connection',
      (socket: Socket) => void socket.resetAndDestroy(),
      /ECONNRESET|other side closed/,
    ],
    ['closes the connection', (socket: Socket) => void socket.end(), /other side closed/],
    [
      'answers no HTTP',
      (socket: Socket) => void socket.end('SSH-2.0-OpenSSH_9.9\r\n'),
      /does not match the HTTP/,
    ],
    ['has a header that is too large', (socket: Socket) => hugeHeader(socket), /Headers Overflow/i],
  ])('fails with a reason if the receiver %s', async (_, answer: (socket: Socket) => void, reason) => {
    const port = await rawServer(answer);
    const result = await attempt(`http://127.0.0.1:${port}/`);
    expect(result.statusCode).toBeNull();
    expect(result.error).toMatch(reason);
  });

  it('fails with a reason if nothing listens, or TLS is no TLS', async () => {
    const port = await rawServer((socket) => void socket.end('no TLS'));
    expect((await attempt(`https://127.0.0.1:${port}/`)).error).toMatch(
      /wrong version number|packet length|SSL/i,
    );
    expect((await attempt('http://127.0.0.1:1/')).error).toMatch(/ECONNREFUSED/);
  });

  it('ends at once with its signal', async () => {
    const port = await rawServer(() => {});
    const ending = new AbortController();
    setTimeout(() => ending.abort(), 50);
    const startedAt = performance.now();
    const result = await attempt(`http://127.0.0.1:${port}/`, { signal: ending.signal });
    expect(result.error).not.toBeNull();
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

describe('an attempt with public targets only', () => {
  it('connects to no private address, whatever the name resolves to', async () => {
    let connections = 0;
    const server = createServer(() => {
      connections += 1;
    });
    const port = await listen(server);
    for (const addresses of [
      ['127.0.0.1'],
      ['8.8.8.8', '127.0.0.1'],
      ['::1'],
      ['::ffff:127.0.0.1'],
      ['64:ff9b::7f00:1'],
    ]) {
      const result = await attempt(`https://rebind.example:${port}/`, {
        rule: 'public',
        resolve: async () => addresses,
      });
      expect(result).toMatchObject({
        statusCode: null,
        error: 'Expected public addresses only of rebind.example, got one that is not public',
      });
    }
    expect(connections).toBe(0);
  });

  it('refuses addresses in every notation, and http', async () => {
    const hosts = [
      '127.0.0.1',
      '127.1',
      '0x7f.0.0.1',
      '2130706433',
      '0177.0.0.1',
      '[::1]',
      '[::ffff:7f00:1]',
      '169.254.169.254',
    ];
    for (const host of hosts)
      expect((await attempt(`https://${host}/`, { rule: 'public' })).error).toMatch(
        /expected a public address/,
      );
    expect((await attempt('http://example.com/', { rule: 'public' })).error).toMatch(/begins with https/);
  });

  it('fails for a name without an address', async () => {
    const result = await attempt('https://nothing.example/', { rule: 'public', resolve: async () => [] });
    expect(result.error).toBe('Expected an address of nothing.example, got none');
  });
});

describe('a name that resolves to other addresses the second time', () => {
  it('is resolved once: the connection goes to the address that was checked', async () => {
    const port = await listen(createHttp((_, response) => void response.writeHead(200).end()));
    const answers = [['127.0.0.1'], ['10.0.0.1']];
    let lookups = 0;
    const resolve = async () => answers[lookups++] ?? [];
    const result = await attempt(`http://rebind.example:${port}/`, { resolve });
    expect(result).toMatchObject({ statusCode: 200, error: null });
    expect(lookups).toBe(1);
  });

  it('gives the addresses that were checked', async () => {
    const url = new URL('https://example.com/');
    expect(await checkedAddresses(url, 'public', async () => ['8.8.8.8', '2001:4860:4860::8888'])).toEqual([
      { address: '8.8.8.8', family: 4 },
      { address: '2001:4860:4860::8888', family: 6 },
    ]);
  });
});

/** Writes `first`, then a part of it again and again. */
function drip(socket: Socket, first: string, nextOf: (count: number) => string): void {
  let count = 0;
  socket.write(first);
  const timer = setInterval(() => socket.write(nextOf(count++)), 20);
  socket.once('close', () => clearInterval(timer));
}

function hugeHeader(socket: Socket): void {
  socket.write(`HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(100_000)}\r\n\r\n`);
}
