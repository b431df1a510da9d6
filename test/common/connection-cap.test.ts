import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import {
  type ConnectionCap,
  capConnections,
  type Displacement,
  requestAnswered,
  requestBegan,
  sourceOf,
} from '../../common/connections.ts';
import { connectionLimits, isOutOfResources, openFilesMax } from '../../common/open-files.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import { adServerFixture } from '../support/ad-server-fixture.ts';
import { get } from '../support/raw-http.ts';
import { EVERGREEN_PATH } from '../support/redirect-fixture.ts';
import { until } from '../support/until.ts';

/** A server with a cap, whose requests wait in `answers`. */
async function cappedServer(cap: Partial<ConnectionCap>) {
  const displaced: Displacement[] = [];
  const answers: (() => void)[] = [];
  const server: Server = createServer(({ socket }, response) => {
    requestBegan(socket, performance.now());
    answers.push(() => {
      requestAnswered(socket, performance.now());
      response.end();
    });
  });
  const { open } = capConnections(server, {
    max: 100,
    maxPerSource: Number.POSITIVE_INFINITY,
    isExempt: () => false,
    onDisplaced: (why) => displaced.push(why),
    ...cap,
  });
  const port = await listen(server, 0, '127.0.0.1', 'test');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  /** Opens a connection and waits until the server has seen it. */
  const enter = async (localAddress = '127.0.0.1'): Promise<Socket> => {
    const seen = once(server, 'connection');
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    socket.on('error', () => {}).resume();
    await seen;
    return socket;
  };
  const sendRequest = async (socket: Socket) => {
    const before = answers.length;
    socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
    await until('the request', () => answers.length > before);
  };
  return { enter, sendRequest, answers, displaced, open };
}

it('at the cap, the longest-idle connection is closed for a new one, in the order of their last use', async () => {
  const { enter, sendRequest, answers, displaced, open } = await cappedServer({ max: 3 });
  const [first, second, third] = [await enter(), await enter(), await enter()];
  await sendRequest(first);
  answers[0]?.();
  const closed: string[] = [];
  for (const [name, socket] of Object.entries({ first, second, third }))
    socket.once('close', () => closed.push(name));
  for (const left of ['second', 'third', 'first']) {
    await enter();
    await until(`${left} to be closed`, () => closed.at(-1) === left);
    expect(open()).toBe(3);
  }
  expect(displaced).toEqual(['full', 'full', 'full']);
});

it('a connection with an unanswered request is not closed; the new one is closed instead', async () => {
  const { enter, sendRequest, answers, open } = await cappedServer({ max: 2 });
  const busy = [await enter(), await enter()];
  for (const socket of busy) await sendRequest(socket);
  const late = await enter();
  await until('the new one to be closed', () => late.closed);
  expect([open(), ...busy.map(({ closed }) => closed)]).toEqual([2, false, false]);
  const [answered] = busy;
  answers[0]?.();
  const next = await enter();
  await until('the one with its answer to be closed', () => answered?.closed === true);
  expect(next.closed).toBe(false);
});

it('one address cannot displace the connections of others, unless it is a trusted proxy', async () => {
  const { enter, displaced } = await cappedServer({
    maxPerSource: 2,
    isExempt: (address) => address === '127.0.0.3',
  });
  const other = await enter('127.0.0.2');
  const greedy = [await enter(), await enter(), await enter(), await enter()];
  await until('the first two to be closed', () => greedy.slice(0, 2).every(({ closed }) => closed));
  expect([other, ...greedy.slice(2)].map(({ closed }) => closed)).toEqual([false, false, false]);
  expect(displaced).toEqual(['source', 'source']);
  const proxy = [await enter('127.0.0.3'), await enter('127.0.0.3'), await enter('127.0.0.3')];
  expect(proxy.map(({ closed }) => closed)).toEqual([false, false, false]);
});

it('the ports and the reserve stay within the limit of open files', () => {
  for (const openFiles of [80, 128, 1_024, 4_096, 20_000, 1_048_576, Number.POSITIVE_INFINITY]) {
    const { public: most, operations } = connectionLimits(openFiles);
    expect(most + operations + 48).toBeLessThanOrEqual(openFiles);
    expect(most).toBeGreaterThanOrEqual(20);
    expect(most).toBeLessThanOrEqual(20_000);
  }
  expect(openFilesMax()).toBeGreaterThan(0);
});

it('an error for lack of descriptors or memory is recognized, at any depth of causes', () => {
  const coded = (code: string) => Object.assign(new Error(code), { code });
  for (const code of ['EMFILE', 'ENFILE', 'ENOMEM'])
    expect(isOutOfResources(new Error('wrapped', { cause: coded(code) }))).toBe(true);
  for (const error of [coded('EIO'), coded('ENOSPC'), new Error('EMFILE'), null, 'EMFILE'])
    expect(isOutOfResources(error)).toBe(false);
});

it.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8::6', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
])('the source of %s is %s', (address, source) => {
  expect(sourceOf(address)).toBe(source);
});

it('ten times as many idle connections as the cap do not prevent the answer to a click', async () => {
  const { port, fixture } = await adServerFixture({ connectionsMax: 20 });
  const idle = Array.from({ length: 200 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  onTestFinished(() => idle.forEach((socket) => void socket.destroy()));
  await until('all but the last to be closed', () => idle.filter(({ closed }) => closed).length >= 180);
  const socket = connect(port, '127.0.0.1');
  socket.write(get(EVERGREEN_PATH));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(String(answer)).toMatch(/^HTTP\/1.1 302 /);
  const [{ value } = { value: 0 }] = (await fixture.metrics.connectionsMax.get()).values;
  expect(value).toBe(20);
});
