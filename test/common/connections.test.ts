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

/** Sends a request over a connection, by default a new one. Resolves when the server has received it. */
async function sendRequest(socket: Socket = connect(port, '127.0.0.1')): Promise<Socket> {
  const before = answers.length;
  socket.resume().write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
  await until('the request to come', () => answers.length > before);
  return socket;
}

it('a connection is closed when it has been idle for the limit, not earlier', async () => {
  const socket = await sendRequest();
  answers[0]?.();
  const answeredAt = performance.now();
  await once(socket, 'close');
  expect(performance.now() - answeredAt).toBeGreaterThanOrEqual(IDLE_MS - 5);
});

it('a connection in use and a connection with an unanswered request stay open', async () => {
  const [used, waiting, idle] = [await sendRequest(), await sendRequest(), await sendRequest()];
  answers[0]?.();
  answers[2]?.();
  const idleIsOver = once(idle, 'close');
  const usedAt = performance.now();
  // The test is about time: this is longer than an idle connection stays open.
  while (performance.now() - usedAt < 2 * IDLE_MS) {
    await sendRequest(used);
    answers.at(-1)?.();
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS / 10));
  }
  await idleIsOver;
  expect([used.closed, waiting.closed]).toEqual([false, false]);
});
