import type { IncomingHttpHeaders } from 'node:http';
import { connect, type LookupFunction } from 'node:net';
import { Client, type Dispatcher, Pool, RoundRobinPool } from 'undici';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { isUuid } from '../../common/uuid.ts';
import { type Arrival, BROWSER_HEADERS, FALLBACK_URL, KINDS } from './traffic.ts';

/** Connections that are kept, for each that is busy on average (Little's law: rate by round trip): bursts need more. */
const KEPT_FOR_BUSY = 8;
const KEPT = { least: 100, most: 2_000 };
/** No click, and unlike a `HEAD` it leaves its connection open: undici closes those, https://github.com/nodejs/undici/issues/258 */
const NO_LINK = '/';
/** Requests that the round trip is measured by. */
const ROUND_TRIPS = 5;
/** Those that are opened for one request, at once. */
const NEW_CONNECTIONS_MAX = 200;
/** A redirect that takes longer has failed, in ms. */
export const ANSWER_MS_MAX = 10_000;
const TIMEOUTS = { headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX, connectTimeout: ANSWER_MS_MAX };
type Address = { readonly address: string; readonly family: number };
/** Longest note about a failure: the notes are keys of a table. */
const NOTE_CHARACTERS_MAX = 80;

/** What a request came to. */
export type Answered =
  /** Redirected to the advertiser, or to the campaign's fallback. */
  | { readonly is: 'recorded'; readonly clickId: string; readonly toFallback: boolean }
  /** Redirected, and said that nothing was recorded. */
  | { readonly is: 'unrecorded' }
  /** Not redirected, as such an arrival is to be answered. */
  | { readonly is: 'turned_away' }
  | { readonly is: 'failed'; readonly why: string };

export type HttpTarget = {
  /** Requests what an arrival asks for; `done` is called once. */
  readonly click: (arrival: Arrival, done: (answered: Answered) => void) => void;
  /** The status that a `HEAD` of a path brings: it is no click. Throws `target_unreachable`. */
  readonly probe: (path: string) => Promise<number>;
  readonly close: () => Promise<void>;
};

/**
 * An ad server as browsers see it: one request at a time on a connection, kept alive or not, redirects not followed. Kept
 * connections are taken in turn, so that none idles until it is closed; an arrival that finds all busy waits, and its wait counts.
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

/**
 * The name is looked up here, once, and what answered is where every connection goes: browsers come with the answer, and a thousand
 * look-ups a second would be a load of our own.
 */
async function connectOptions(url: string): Promise<ConnectOptions> {
  const { address, family } = await reach(url);
  const lookup: LookupFunction = (_, { all }, found) =>
    all ? found(null, [{ address, family }]) : found(null, address, family);
  return { ...TIMEOUTS, connect: { lookup } };
}

/** The address that a URL's server answers at. */
function reach(url: string): Promise<Address> {
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
  // On its own: undici closes a connection after a HEAD.
  const prober = new Client(url, options);
  // Each of its requests ends its connection: the next has to open one.
  const newcomers = new Pool(url, { connections: NEW_CONNECTIONS_MAX, ...options });
  return {
    click: ({ kind, path, headers, onNewConnection }, done) => {
      let answered: Answered | null = null;
      const dispatcher = onNewConnection ? newcomers : pool;
      dispatcher.dispatch(
        { path, method: 'GET', headers, reset: onNewConnection },
        {
          onRequestStart: () => {},
          onResponseStart: (_, status, responseHeaders) => {
            answered = answeredBy(KINDS[kind].status, status, responseHeaders);
          },
          onResponseData: () => {},
          onResponseEnd: () => done(answered ?? { is: 'failed', why: 'no answer' }),
          onResponseError: (_, error) => done({ is: 'failed', why: noteOf(error) }),
        },
      );
    },
    probe: (path) => ask(prober, url, 'HEAD', path),
    close: async () =>
      void (await Promise.all([pool, newcomers, prober].map((dispatcher) => dispatcher.destroy()))),
  };
}

/**
 * A target for arrivals at this rate, with the connections it takes open. One opened on demand would be a new connection that nobody
 * asked for, and a burst demands many at once, which is just what makes it worse. Throws `target_unreachable`.
 */
export async function openHttpTarget(url: string, perSecond: number): Promise<HttpTarget> {
  const options = await connectOptions(url);
  const busy = (perSecond * (await roundTripMs(url, options))) / 1_000;
  const connections = Math.min(KEPT.most, Math.max(KEPT.least, Math.ceil(busy * KEPT_FOR_BUSY)));
  const pool = keptConnections(url, options, connections);
  // All at once: none of them can share. What cannot be opened now is opened when it is needed, or fails there.
  await Promise.allSettled(Array.from({ length: connections }, () => ask(pool, url, 'GET', NO_LINK)));
  return targetOf(url, options, pool);
}

/** The shortest of a few requests on one connection, to its answer. */
async function roundTripMs(url: string, options: ConnectOptions): Promise<number> {
  const client = new Client(url, options);
  try {
    let shortest = Number.POSITIVE_INFINITY;
    for (let count = 0; count < ROUND_TRIPS; count += 1) {
      const startedAt = performance.now();
      await ask(client, url, 'GET', NO_LINK);
      shortest = Math.min(shortest, performance.now() - startedAt);
    }
    return shortest;
  } finally {
    await client.destroy();
  }
}

async function ask(
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

function answeredBy(expected: number, status: number, headers: IncomingHttpHeaders): Answered {
  if (status !== expected) return { is: 'failed', why: `answer ${status}, expected ${expected}` };
  if (status !== 302) return { is: 'turned_away' };
  const said = headers['tollway-click'];
  if (typeof said === 'string' && isUuid(said))
    return { is: 'recorded', clickId: said, toFallback: headers.location === FALLBACK_URL };
  return said === 'none'
    ? { is: 'unrecorded' }
    : { is: 'failed', why: 'a redirect without a Tollway-Click header' };
}

function noteOf(error: Error): string {
  return (errorCode(error) ?? errorMessage(error)).slice(0, NOTE_CHARACTERS_MAX);
}
