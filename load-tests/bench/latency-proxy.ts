/**
 * A TCP proxy that simulates network latency by delaying all data. Its parent process sends it the target and the delay in each direction.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { serveRequests } from './child-port.ts';

export type ProxyRequest = {
  readonly host: string;
  readonly port: number;
  /** In ms, with fractions. */
  readonly delayMs: number;
};
export type ProxyStarted = { readonly port: number };

type Delayed = { readonly dueMs: number; readonly forward: () => void };

/**
 * Node's timers have a resolution of 1 ms. Instead, the proxy polls while data is delayed, and sleeps for this time in each iteration, which
 * takes a few per cent of a core instead of a whole one.
 */
const SLEEP_MS = 0.05;
const sleepCell = new Int32Array(new SharedArrayBuffer(4));
/** A FIFO queue: all delays are equal, so the first entry is due first. */
const delayed: Delayed[] = [];
let isPolling = false;

serveRequests(async ({ host, port, delayMs }: ProxyRequest): Promise<ProxyStarted> => {
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host, port, noDelay: true });
    pass(near, far, delayMs);
    pass(far, near, delayMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A TCP server has an address of this form.
  return { port: (server.address() as AddressInfo).port };
});

/** Forwards a stream with a delay. The queue is bounded by the protocol: a connection sends one batch, then waits for its answer. */
function pass(from: Socket, to: Socket, delayMs: number): void {
  from.on('data', (bytes) => later(delayMs, () => to.write(bytes)));
  from.on('end', () => later(delayMs, () => to.end()));
  from.on('error', () => to.destroy());
}

function later(delayMs: number, forward: () => void): void {
  delayed.push({ dueMs: performance.now() + delayMs, forward });
  if (isPolling) return;
  isPolling = true;
  setImmediate(poll);
}

function poll(): void {
  while ((delayed[0]?.dueMs ?? Number.POSITIVE_INFINITY) <= performance.now()) delayed.shift()?.forward();
  isPolling = delayed.length > 0;
  if (!isPolling) return;
  Atomics.wait(sleepCell, 0, 0, SLEEP_MS);
  setImmediate(poll);
}
