import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { type ClickResult, type HttpTarget, openHttpTarget } from '../../load-tests/load/http-target.ts';
import type { Arrival } from '../../load-tests/load/traffic.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** An ad server that answers after `answerMs` and counts its connections. */
async function slowServer(answerMs: number) {
  let opened = 0;
  const server = createServer((_, response) => {
    const answer = () => response.writeHead(302, { 'tollway-click': uuidV7() }).end();
    setTimeout(answer, answerMs);
  }).listen(0, '127.0.0.1');
  server.on('connection', () => {
    opened += 1;
  });
  await once(server, 'listening');
  closing.push(() => void server.close().closeAllConnections());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, opened: () => opened };
}

async function open(url: string, perSecond: number): Promise<HttpTarget> {
  const target = await openHttpTarget(url, perSecond);
  closing.push(target.close);
  return target;
}

const click = (target: HttpTarget, onNewConnection: boolean) => {
  const arrival: Arrival = { kind: 'fresh', path: '/c/x', headers: {}, onNewConnection };
  return new Promise<ClickResult>((resolve) => {
    target.click(arrival, resolve);
  });
};
const burst = (target: HttpTarget, count: number, onNewConnection: boolean) =>
  Promise.all(Array.from({ length: count }, () => click(target, onNewConnection)));

it('opens no connections in a burst except those of arrivals with a new connection', async () => {
  const server = await slowServer(5);
  const target = await open(server.url, 1_000);
  const before = server.opened();
  const answers = await burst(target, 300, false);
  expect(answers.map(({ is }) => is)).toEqual(Array(300).fill('recorded'));
  expect(server.opened()).toBe(before);
  await burst(target, 7, true);
  expect(server.opened()).toBe(before + 7);
});

it('keeps as many connections as the rate, the round trip and bursts need', async () => {
  const near = await slowServer(0);
  await open(near.url, 100);
  expect(near.opened()).toBeLessThanOrEqual(110);
  const far = await slowServer(50);
  await open(far.url, 1_000);
  expect(far.opened()).toBeGreaterThanOrEqual(400);
});
