import type { IncomingHttpHeaders } from 'node:http';
import { Pool, RoundRobinPool } from 'undici';
import { errorCode, errorMessage } from '../common/errors.ts';
import { isUuid } from '../common/uuid.ts';
import { FALLBACK_URL } from './population.ts';
import { type Arrival, BROWSER_HEADERS, KINDS } from './traffic.ts';

/**
 * Connections that are kept alive to the target, taken in turn, so that none is idle until it is closed. An arrival that finds
 * them all busy waits, and its wait counts.
 */
const CONNECTIONS_MAX = 500;
/** Those that are opened for one request, at once. */
const NEW_CONNECTIONS_MAX = 200;
/** A redirect that takes longer has failed, in ms. */
export const ANSWER_MS_MAX = 10_000;
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
  /**
   * Opens the connections that are kept. One opened on demand is a new connection that nobody asked for, and bursts demand many
   * at once: just what makes a burst worse.
   */
  readonly open: () => Promise<void>;
  /** Requests what an arrival asks for; `done` is called once. */
  readonly click: (arrival: Arrival, done: (answered: Answered) => void) => void;
  /** The status that a `HEAD` of a path brings: it is no click. Throws what the connection says. */
  readonly probe: (path: string) => Promise<number>;
  readonly close: () => Promise<void>;
};

/** An ad server as browsers see it: one request at a time on a connection, kept alive or not, redirects not followed. */
export function createHttpTarget(url: string): HttpTarget {
  const timeouts = {
    headersTimeout: ANSWER_MS_MAX,
    bodyTimeout: ANSWER_MS_MAX,
    connectTimeout: ANSWER_MS_MAX,
  };
  const pool = new RoundRobinPool(url, { connections: CONNECTIONS_MAX, pipelining: 1, ...timeouts });
  // Each of its requests ends its connection: the next has to open one.
  const newcomers = new Pool(url, { connections: NEW_CONNECTIONS_MAX, ...timeouts });
  const probe: HttpTarget['probe'] = async (path) => {
    const { statusCode, body } = await pool.request({ path, method: 'HEAD', headers: BROWSER_HEADERS });
    await body.dump();
    return statusCode;
  };
  return {
    // All at once: none of them can share. What cannot be opened now is opened when it is needed, or fails there.
    open: async () =>
      void (await Promise.allSettled(Array.from({ length: CONNECTIONS_MAX }, () => probe('/')))),
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
    probe,
    close: async () => void (await Promise.all([pool.destroy(), newcomers.destroy()])),
  };
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
