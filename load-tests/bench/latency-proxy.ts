/**
 * A TCP proxy that delays what goes through it, as a database that is a network away: told by its parent where to, and by
 * how much each way.
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

type Waiting = { readonly dueMs: number; readonly forward: () => void };

/**
 * Node's timers know whole milliseconds. So, while something waits, the loop turns all the time, and sleeps this long in
 * each turn: a few per cent of a core, instead of all of one.
 */
const NAP_MS = 0.05;
const nap = new Int32Array(new SharedArrayBuffer(4));
/** All waits are alike: what came first is due first. */
const waiting: Waiting[] = [];
let turning = false;

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

/** What waits is bounded by the protocol: a connection sends one batch and then waits for its answer. */
function pass(from: Socket, to: Socket, delayMs: number): void {
  from.on('data', (bytes) => later(delayMs, () => to.write(bytes)));
  from.on('end', () => later(delayMs, () => to.end()));
  from.on('error', () => to.destroy());
}

function later(delayMs: number, forward: () => void): void {
  waiting.push({ dueMs: performance.now() + delayMs, forward });
  if (turning) return;
  turning = true;
  setImmediate(turn);
}

function turn(): void {
  while ((waiting[0]?.dueMs ?? Number.POSITIVE_INFINITY) <= performance.now()) waiting.shift()?.forward();
  turning = waiting.length > 0;
  if (!turning) return;
  Atomics.wait(nap, 0, 0, NAP_MS);
  setImmediate(turn);
}
