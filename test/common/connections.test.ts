import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { endIdleConnections, requestAnswered, requestBegan } from '../../common/connections.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import { until } from '../support/until.ts';

const IDLE_MS = 200;

let port: number;
let answers: (() => void)[];
const server = () => {
  const made = createServer({ keepAliveTimeout: 0 }, ({ socket }, response: ServerResponse) => {
    requestBegan(socket, performance.now());
    answers.push(() => {
      response.end();
      requestAnswered(socket, performance.now());
    });
  });
  endIdleConnections(made, IDLE_MS);
  return made;
};
let running: ReturnType<typeof server>;

beforeEach(async () => {
  answers = [];
  running = server();
  port = await listen(running, 0, '127.0.0.1', 'test');
});
afterEach(() => {
  running.closeAllConnections();
  running.close();
});

/** Asks over a connection, a new one unless one is given; resolves when the request has come. */
async function ask(socket: Socket = connect(port, '127.0.0.1')): Promise<Socket> {
  const before = answers.length;
  socket.resume().write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
  await until('the request to come', () => answers.length > before);
  return socket;
}

it('a connection is ended once nothing was asked for a while, and not before', async () => {
  const socket = await ask();
  answers[0]?.();
  const answeredAt = performance.now();
  await once(socket, 'close');
  expect(performance.now() - answeredAt).toBeGreaterThanOrEqual(IDLE_MS - 5);
});

it('a connection that is used is kept, and one whose request has no answer yet', async () => {
  const [used, waiting, idle] = [await ask(), await ask(), await ask()];
  answers[0]?.();
  answers[2]?.();
  const idleIsOver = once(idle, 'close');
  const usedAt = performance.now();
  // The time is the subject: longer than an idle connection is kept.
  while (performance.now() - usedAt < 2 * IDLE_MS) {
    await ask(used);
    answers.at(-1)?.();
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS / 10));
  }
  await idleIsOver;
  expect([used.closed, waiting.closed]).toEqual([false, false]);
});
