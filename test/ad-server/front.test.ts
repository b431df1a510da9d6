import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { closeAdServer } from '../../ad-server/public-port.ts';
import { endIdleConnections } from '../../common/connections.ts';
import { adServerFixture } from '../support/ad-server-fixture.ts';
import { exchange, get, parseAnswers, rawConnection, readToEnd } from '../support/raw-http.ts';
import { counterValue, decode, EVERGREEN_PATH } from '../support/redirect-fixture.ts';
import { openSpool } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const PLAIN = get(EVERGREEN_PATH, '');
const IDLE_MS = 200;

/** The ad server, and how many requests node:http has parsed. */
async function adServer(options: Parameters<typeof adServerFixture>[0]) {
  const made = await adServerFixture(options);
  let parsed = 0;
  made.server.on('request', () => {
    parsed += 1;
  });
  return { ...made, parsed: () => parsed };
}

/** Collects what comes back on a connection. */
function collect(socket: Socket): () => string {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('latin1');
}

describe.each([
  ['with the front', true],
  ['without the front', false],
] as const)('%s', (_, front) => {
  it('one connection answers many clicks, one after the other', async () => {
    const { port, parsed, fixture } = await adServer({ front });
    const socket = await rawConnection(port);
    const received = collect(socket);
    for (let count = 1; count <= 20; count += 1) {
      socket.write(PLAIN);
      await until('the answer', () => parseAnswers(received()).length === count);
    }
    expect(socket.closed).toBe(false);
    expect(parsed()).toBe(front ? 0 : 20);
    expect(await counterValue(fixture.metrics.redirects, { answer: 'redirect' })).toBe(20);
    socket.destroy();
  });

  it('a client that does not read is not read from, and gets all answers once it reads', async () => {
    const errorPageFile = join(temporaryFolder(), 'page.html');
    writeFileSync(errorPageFile, `{message}${'x'.repeat(60_000)}`);
    const { port, parsed, fixture } = await adServer({ front, errorPageFile });
    const answered = () => counterValue(fixture.metrics.redirects, { answer: 'not_found' });
    const socket = (await rawConnection(port)).pause();
    let sent = 0;
    for (let stalledMs = 0; stalledMs < 500; stalledMs += 5) {
      if ((await answered()) === sent) {
        stalledMs = 0;
        sent += 1;
        socket.write(get('/c/x', ''));
      }
      await sleep(5);
    }
    expect(await answered()).toBe(sent - 1);
    const received = collect(socket);
    socket.resume();
    await until('all answers', () => parseAnswers(received()).length === sent);
    expect(parsed()).toBe(front ? 0 : sent);
    socket.destroy();
  });

  it('a connection is closed when it has been idle, but not while a click waits', async () => {
    const { port, server, fixture } = await adServer({ front, recording: false });
    endIdleConnections(server, IDLE_MS);
    const idle = await rawConnection(port);
    const waiting = await rawConnection(port);
    for (const socket of [idle, waiting]) socket.resume().write(PLAIN);
    await until('both clicks', () => fixture.waiting.length === 2);
    const [first, second] = fixture.waiting;
    first?.recorded(1);
    await once(idle, 'close');
    expect(waiting.closed).toBe(false);
    second?.recorded(2);
    await once(waiting, 'close');
  });

  it('a connection that sends nothing gets a 408', async () => {
    const { port, server, fixture } = await adServer({ front });
    server.headersTimeout = 200;
    const socket = await rawConnection(port);
    const [answer] = await readToEnd(socket);
    expect(answer).toMatchObject({ status: 408, headers: { connection: 'close' } });
    expect(await counterValue(fixture.metrics.redirects, { answer: 'bad_request' })).toBe(1);
  });

  it('the shutdown answers pipelined clicks that wait for an fsync', async () => {
    const made = await adServer({ front, recording: false });
    const spool = openSpool({ sync: 'each' });
    made.fixture.waiting.push = (...waiting) => {
      for (const { encoded, recorded } of waiting) spool.append(encoded, recorded);
      return 0;
    };
    const [busy, idle, silent] = [
      await rawConnection(made.port),
      await rawConnection(made.port),
      await rawConnection(made.port),
    ];
    idle.write(PLAIN);
    await once(idle, 'data');
    const received = collect(busy);
    const idleClosed = once(idle, 'close');
    const all = Promise.all([busy, silent].map((socket) => once(socket, 'close')));
    busy.write(PLAIN + PLAIN + PLAIN);
    await until('the clicks to be written', () => spool.accepted === 4);
    await closeAdServer(made);
    await idleClosed;
    expect(parseAnswers(received()).map(({ status }) => status)).toEqual([302, 302, 302]);
    await all;
    expect(made.parsed()).toBe(front ? 0 : 4);
    await expect(rawConnection(made.port)).rejects.toThrow('ECONNREFUSED');
  });

  it.each([
    ['in the middle of a request', PLAIN.slice(0, 60)],
    ['while its click waits', PLAIN],
  ])('a client that disappears %s leaves nothing behind', async (_when, bytes) => {
    const { port, fixture, measure } = await adServer({ front, recording: false });
    const open = async () => {
      measure();
      return (await fixture.metrics.connections.get()).values[0]?.value;
    };
    const socket = await rawConnection(port);
    socket.write(bytes);
    if (bytes === PLAIN) await until('the click', () => fixture.waiting.length === 1);
    else await until('the connection', async () => (await open()) === 1);
    socket.resetAndDestroy();
    await until('the connection to be gone', async () => (await open()) === 0);
    if (bytes === PLAIN) fixture.take();
    expect((await exchange(port, get('/c/x')))[0]?.status).toBe(404);
    expect(await counterValue(fixture.metrics.redirects, { answer: 'bad_request' })).toBe(0);
  });

  it('a client that ends its side while its click waits gets no answer; the click counts', async () => {
    const { port, fixture } = await adServer({ front, recording: false });
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const answers = readToEnd(socket);
    const ended = once(socket, 'end');
    socket.end(PLAIN);
    await until('the click', () => fixture.waiting.length === 1);
    await ended;
    expect(fixture.take().adId).toBe(42);
    expect(await answers).toEqual([]);
    expect(await counterValue(fixture.metrics.redirects, { answer: 'redirect' })).toBe(1);
  });

  it('the visitor behind a trusted proxy is the one that the proxy names', async () => {
    const { port, fixture } = await adServer({ front, recording: false, proxies: '127.0.0.1,10.0.0.0/8' });
    const socket = await rawConnection(port);
    socket.write(get(EVERGREEN_PATH, 'X-Forwarded-For: 192.0.2.66, 198.51.100.9, 10.1.2.3\r\n'));
    await until('the click', () => fixture.waiting.length === 1);
    expect(decode(fixture.waiting[0]?.encoded ?? '').visitorNetwork).toBe('198.51.100.0/24');
    fixture.take();
    socket.destroy();
  });

  it('HEAD gets the headers alone', async () => {
    const { port } = await adServer({ front });
    const socket = await rawConnection(port);
    const answers = readToEnd(socket, ['GET', 'HEAD']);
    socket.write(PLAIN);
    await once(socket, 'readable').catch(() => {});
    socket.write(get('/c/x').replace('GET', 'HEAD'));
    expect((await answers).map(({ status, body }) => [status, body])).toEqual([
      [302, ''],
      [404, ''],
    ]);
  });
});

it('the metrics of both servers are the same', async () => {
  const texts = await Promise.all(
    [true, false].map(async (front) => {
      const { port, fixture, measure } = await adServer({ front });
      const socket = await rawConnection(port);
      const received = collect(socket);
      const requests = [
        PLAIN,
        get('/c/x', ''),
        get(EVERGREEN_PATH, 'Sec-Purpose: prefetch\r\n'),
        PLAIN + PLAIN,
      ];
      let sent = 0;
      for (const request of requests) {
        socket.write(request);
        sent += request === PLAIN + PLAIN ? 2 : 1;
        await until('the answers', () => parseAnswers(received()).length === sent);
      }
      measure();
      socket.destroy();
      const text = await fixture.metrics.registry.metrics();
      return text
        .split('\n')
        .filter((line) => /^tollway_(redirect|click|connection)/.test(line) && !/_sum|_bucket/.test(line));
    }),
  );
  expect(texts[0]).toEqual(texts[1]);
  expect(texts[0]?.join('\n')).toMatch(/answer="redirect"\} 3/);
});
