import type { IncomingHttpHeaders } from 'node:http';
import { Pool } from 'undici';
import { errorCode, errorMessage } from '../common/errors.ts';
import { isUuid } from '../common/uuid.ts';

/** Connections that are kept alive to the target. An arrival that finds them all busy waits, and its wait counts. */
const CONNECTIONS_MAX = 500;
/** A redirect that takes longer has failed, in ms. */
export const ANSWER_MS_MAX = 10_000;
/** Longest note about a failure: the notes are keys of a table. */
const NOTE_CHARACTERS_MAX = 80;

/** What a request came to. */
export type Answered =
  | { readonly is: 'recorded'; readonly clickId: string }
  /** Redirected, and said that nothing was recorded. */
  | { readonly is: 'unrecorded' }
  | { readonly is: 'failed'; readonly why: string };

export type HttpTarget = {
  /** Requests a path; `done` is called once. */
  readonly click: (path: string, done: (answered: Answered) => void) => void;
  /** The status that a `HEAD` of a path brings: it is no click. Throws what the connection says. */
  readonly probe: (path: string) => Promise<number>;
  readonly close: () => Promise<void>;
};

/** What a browser sends; without it the clicks would be a robot's. */
export const BROWSER_HEADERS = {
  'user-agent':
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'accept-language': 'en-US,en;q=0.9',
  'accept-encoding': 'gzip, deflate, br, zstd',
} as const;

/** An ad server as browsers see it: keep-alive connections, one request at a time on each, redirects not followed. */
export function createHttpTarget(url: string): HttpTarget {
  const pool = new Pool(url, {
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    headersTimeout: ANSWER_MS_MAX,
    bodyTimeout: ANSWER_MS_MAX,
    connectTimeout: ANSWER_MS_MAX,
  });
  return {
    click: (path, done) => {
      let answered: Answered | null = null;
      pool.dispatch(
        { path, method: 'GET', headers: BROWSER_HEADERS },
        {
          onRequestStart: () => {},
          onResponseStart: (_, status, headers) => {
            answered = answeredBy(status, headers);
          },
          onResponseData: () => {},
          onResponseEnd: () => done(answered ?? { is: 'failed', why: 'no answer' }),
          onResponseError: (_, error) => done({ is: 'failed', why: noteOf(error) }),
        },
      );
    },
    probe: async (path) => {
      const { statusCode, body } = await pool.request({ path, method: 'HEAD', headers: BROWSER_HEADERS });
      await body.dump();
      return statusCode;
    },
    close: () => pool.destroy(),
  };
}

function answeredBy(status: number, headers: IncomingHttpHeaders): Answered {
  if (status !== 302) return { is: 'failed', why: `answer ${status}` };
  const said = headers['tollway-click'];
  if (typeof said === 'string' && isUuid(said)) return { is: 'recorded', clickId: said };
  return said === 'none'
    ? { is: 'unrecorded' }
    : { is: 'failed', why: 'a redirect without a Tollway-Click header' };
}

function noteOf(error: Error): string {
  return (errorCode(error) ?? errorMessage(error)).slice(0, NOTE_CHARACTERS_MAX);
}
