import type { IncomingHttpHeaders } from 'node:http';
import { connect, type LookupFunction } from 'node:net';
import pLimit from 'p-limit';
import { Client, type Dispatcher, RoundRobinPool } from 'undici';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { isUuid } from '../../common/uuid.ts';
import { type Arrival, BROWSER_HEADERS, FALLBACK_URL, KINDS } from './traffic.ts';

/** Kept connections per connection that is busy on average (Little's law: rate × round trip), to cover bursts. */
const CONNECTIONS_PER_BUSY = 8;
const CONNECTIONS = { min: 100, max: 2_000 };
/**
 * A GET of this path is not a click: its token is none. The front of the ad server answers it and keeps the connection. A connection that begins
 * with another path is left to node:http for good, and each click on it costs more. Unlike `HEAD`, a GET leaves its connection open: undici closes
 * a connection after `HEAD`, https://github.com/nodejs/undici/issues/258
 */
const PROBE_PATH = '/c/probe';
/** Requests that measure the round trip. */
const ROUND_TRIPS = 5;
/** Limit of concurrent connections that are opened for a single request. */
const NEW_CONNECTIONS_MAX = 200;
/** Timeout of a redirect, in ms. */
export const ANSWER_MS_MAX = 10_000;
const TIMEOUTS = { headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX, connectTimeout: ANSWER_MS_MAX };
type Address = { readonly address: string; readonly family: number };
/** Longest failure reason. Reasons are the keys of a table. */
const REASON_CHARACTERS_MAX = 80;

/** The result of a request. */
export type ClickResult =
  /** Redirected to the advertiser or to the fallback URL of its campaign; the click is recorded. */
  | { readonly is: 'recorded'; readonly clickId: string; readonly toFallback: boolean }
  /** Redirected with `Tollway-Click: none`: the click is not recorded. */
  | { readonly is: 'unrecorded' }
  /** Refused as expected: a prefetch or a forged link. */
  | { readonly is: 'refused' }
  | { readonly is: 'failed'; readonly reason: string };

export type HttpTarget = {
  /** Sends the request of an arrival and calls `done` once. */
  readonly click: (arrival: Arrival, done: (result: ClickResult) => void) => void;
  /** The status of a `HEAD` request, which is not a click. Throws `target_unreachable`. */
  readonly probe: (path: string) => Promise<number>;
  readonly close: () => Promise<void>;
};

/**
 * A client of an ad server that behaves like browsers: one request at a time per connection, kept alive or not, redirects not followed. Kept
 * connections are used round-robin, so that none reaches the idle timeout. An arrival waits if all are busy; the wait counts as latency.
 * Throws `target_unreachable`.
 */
export async function createHttpTarget(url: string, connections: number): Promise<HttpTarget> {
  const options = await connectOptions(url);
  return targetOf(url, options, keptConnections(url, options, connections));
}

type ConnectOptions = typeof TIMEOUTS & { readonly connect: { readonly lookup: LookupFunction } };

function keptConnections(url: string, options: ConnectOptions, connections: number): RoundRobinPool {
  return new RoundRobinPool(url, { connections, pipelining: 1, ...options });
}

/** Resolves the host name once, for all connections. Browsers cache it too, and a lookup per connection would load this machine. */
async function connectOptions(url: string): Promise<ConnectOptions> {
  const { address, family } = await findAddress(url);
  const lookup: LookupFunction = (_, { all }, found) =>
    all ? found(null, [{ address, family }]) : found(null, address, family);
  return { ...TIMEOUTS, connect: { lookup } };
}

/** Connects to the server of a URL and returns the address that accepted. Throws `target_unreachable`. */
function findAddress(url: string): Promise<Address> {
  const { hostname, port, protocol } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port) || (protocol === 'https:' ? 443 : 80),
      timeout: ANSWER_MS_MAX,
    });
    socket.once('connect', () => {
      const { remoteAddress = '', remoteFamily } = socket;
      resolve({ address: remoteAddress, family: remoteFamily === 'IPv6' ? 6 : 4 });
      socket.destroy();
    });
    socket.once('timeout', () => socket.destroy(new Error(`no connection in ${ANSWER_MS_MAX / 1_000} s`)));
    socket.once('error', (error) => reject(unreachable(url, error)));
  });
}

function unreachable(url: string, cause: unknown): TollwayError {
  const message = `The ad server does not answer at ${url}: ${errorMessage(cause)}`;
  return new TollwayError('target_unreachable', message, { cause });
}

function targetOf(url: string, options: ConnectOptions, pool: Dispatcher): HttpTarget {
  // A separate client, because undici closes a connection after HEAD.
  const prober = new Client(url, options);
  const newConnections = pLimit(NEW_CONNECTIONS_MAX);
  const visitors = new Set<Client>();
  const send = (
    dispatcher: Dispatcher,
    { kind, path, headers }: Arrival,
    done: (result: ClickResult) => void,
  ) => {
    let result: ClickResult | null = null;
    dispatcher.dispatch(
      { path, method: 'GET', headers },
      {
        onRequestStart: () => {},
        onResponseStart: (_, status, responseHeaders) => {
          result = resultOf(KINDS[kind].status, status, responseHeaders);
        },
        onResponseData: () => {},
        onResponseEnd: () => done(result ?? { is: 'failed', reason: 'no answer' }),
        onResponseError: (_, error) => done({ is: 'failed', reason: failureReason(error) }),
      },
    );
  };
  // As a browser: the request says that the connection is kept, and the visitor leaves.
  const sendOnNewConnection = async (arrival: Arrival, done: (result: ClickResult) => void) => {
    const client = new Client(url, options);
    visitors.add(client);
    await new Promise<void>((resolve) => {
      send(client, arrival, (result) => {
        done(result);
        resolve();
      });
    });
    visitors.delete(client);
    await client.destroy();
  };
  return {
    click: (arrival, done) => {
      if (arrival.onNewConnection) void newConnections(() => sendOnNewConnection(arrival, done));
      else send(pool, arrival, done);
    },
    probe: (path) => requestStatus(prober, url, 'HEAD', path),
    close: async () =>
      void (await Promise.all([pool, prober, ...visitors].map((dispatcher) => dispatcher.destroy()))),
  };
}

/**
 * A target with enough open connections for this arrival rate. Without them, a burst would open many connections at once, beyond the share
 * of new connections that the load is configured with. Throws `target_unreachable`.
 */
export async function openHttpTarget(url: string, perSecond: number): Promise<HttpTarget> {
  const options = await connectOptions(url);
  const busy = (perSecond * (await roundTripMs(url, options))) / 1_000;
  const wanted = Math.ceil(busy * CONNECTIONS_PER_BUSY);
  const connections = Math.min(CONNECTIONS.max, Math.max(CONNECTIONS.min, wanted));
  const pool = keptConnections(url, options, connections);
  // Concurrent requests, so that each opens its own connection. A connection that fails here is opened again when it is needed.
  await Promise.allSettled(
    Array.from({ length: connections }, () => requestStatus(pool, url, 'GET', PROBE_PATH)),
  );
  return targetOf(url, options, pool);
}

/** The shortest time of a few requests on one connection, in ms. */
async function roundTripMs(url: string, options: ConnectOptions): Promise<number> {
  const client = new Client(url, options);
  try {
    let shortest = Number.POSITIVE_INFINITY;
    for (let count = 0; count < ROUND_TRIPS; count += 1) {
      const startedAt = performance.now();
      await requestStatus(client, url, 'GET', PROBE_PATH);
      shortest = Math.min(shortest, performance.now() - startedAt);
    }
    return shortest;
  } finally {
    await client.destroy();
  }
}

async function requestStatus(
  dispatcher: Dispatcher,
  url: string,
  method: 'GET' | 'HEAD',
  path: string,
): Promise<number> {
  try {
    const { statusCode, body } = await dispatcher.request({ path, method, headers: BROWSER_HEADERS });
    await body.dump();
    return statusCode;
  } catch (cause) {
    throw unreachable(url, cause);
  }
}

function resultOf(expected: number, status: number, headers: IncomingHttpHeaders): ClickResult {
  if (status !== expected) return { is: 'failed', reason: `expected status ${expected}, got ${status}` };
  if (status !== 302) return { is: 'refused' };
  const clickId = headers['tollway-click'];
  if (typeof clickId === 'string' && isUuid(clickId))
    return { is: 'recorded', clickId, toFallback: headers.location === FALLBACK_URL };
  return clickId === 'none'
    ? { is: 'unrecorded' }
    : { is: 'failed', reason: 'a redirect without a Tollway-Click header' };
}

function failureReason(error: Error): string {
  return (errorCode(error) ?? errorMessage(error)).slice(0, REASON_CHARACTERS_MAX);
}
