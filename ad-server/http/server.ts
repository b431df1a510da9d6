import type { Server, ServerResponse } from 'node:http';
import {
  type Connection,
  type ConnectionCap,
  capConnections,
  endIdleConnections,
  isWaiting,
  requestAnswered,
  requestBegan,
} from '../../common/connections.ts';
import { createServer } from '../../common/node-http.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Answer, ClickRequest } from '../redirect/redirect.ts';
import { type HttpAnswer, httpAnswer } from './answers.ts';
import type { ErrorPages } from './error-pages.ts';
import { answerBytes } from './front/answer-bytes.ts';
import { putFront } from './front/front.ts';
import type { Handler } from './front/front-connection.ts';

/** Maximum header block of a request, in bytes. The headers of browsers are below 4 KiB even with large cookies. */
const HEADER_BYTES_MAX = 16_384;
/** Maximum time for a client to send its headers, in ms. */
const HEADERS_MS_MAX = 10_000;
/** Maximum idle time of a connection, in ms. Longer than the 60 s of common load balancers, which must close first. */
const IDLE_MS = 65_000;

type ClientError = { readonly line: string; readonly page: keyof ErrorPages['pages'] };
const BAD_REQUEST: ClientError = { line: '400 Bad Request', page: 'badRequest' };
const CLIENT_ERRORS: Readonly<Record<string, ClientError>> = {
  HPE_HEADER_OVERFLOW: { line: '431 Request Header Fields Too Large', page: 'headersTooLarge' },
  ERR_HTTP_REQUEST_TIMEOUT: { line: '408 Request Timeout', page: 'timeout' },
};

type Redirect = (request: ClickRequest, answer: (answer: Answer) => void) => void;

/** The connection limits of the public port. */
export type PublicConnections = Omit<ConnectionCap, 'onDisplaced'>;

/** The public server. */
export type AdServer = {
  readonly server: Server;
  /** Updates the gauge of its connections. */
  readonly measure: () => void;
  /** Closes the connections without a request in progress, except new ones that have not sent one yet. */
  readonly closeIdleConnections: () => void;
  readonly closeAllConnections: () => void;
};

export type AdServerOptions = {
  readonly connections: PublicConnections;
  readonly errorPages: ErrorPages;
  /** Whether plain requests for links are answered in front of node:http (HTTP_FRONT). */
  readonly front: boolean;
};

/** Creates the public server, without listening. */
export function createAdServer(
  redirect: Redirect,
  metrics: Metrics,
  { connections, errorPages, front: hasFront }: AdServerOptions,
): AdServer {
  const handle = createHandler(redirect, metrics);
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_MS_MAX,
      requestTimeout: HEADERS_MS_MAX,
      // `endIdleConnections` closes idle connections.
      keepAliveTimeout: 0,
      connectionsCheckingInterval: 5_000,
      noDelay: true,
      // A click has no body: its body stream starts as ended, without stream events.
      optimizeEmptyRequests: true,
    },
    ({ method = '', url = '', headers, socket }, response) => {
      handle({ method, url, headers, peer: socket.remoteAddress }, socket, (answer) => {
        send(response, httpAnswer(answer, errorPages));
      });
    },
  );
  const front = hasFront
    ? putFront(server, { handle, bytesOf: (answer) => answerBytes(answer, errorPages) })
    : null;
  const port = 'public';
  const { open } = capConnections(server, {
    ...connections,
    onDisplaced: (reason) => metrics.connectionsDisplaced.inc({ port, reason }),
  });
  metrics.connectionsMax.set({ port }, connections.max);
  endIdleConnections(server, IDLE_MS);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Connection) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    metrics.redirects.inc({ answer: 'bad_request' });
    const clientError = CLIENT_ERRORS[error.code ?? ''] ?? BAD_REQUEST;
    const refuse = () => {
      // A click that arrived before the bad request on this connection gets its response first.
      if (isWaiting(socket) && !socket.destroyed) setTimeout(refuse, 1);
      else socket.end(clientErrorAnswer(clientError, errorPages));
    };
    // Responses of this iteration of the event loop, to earlier requests in the same bytes, are written first.
    setImmediate(refuse);
  });
  return {
    server,
    measure: () => metrics.connections.set({ port }, open()),
    closeIdleConnections: () => {
      server.closeIdleConnections();
      front?.closeIdle();
    },
    closeAllConnections: () => {
      server.closeAllConnections();
      front?.closeAll();
    },
  };
}

/** Makes a function that passes a request to the redirect, and measures it. */
function createHandler(redirect: Redirect, metrics: Metrics): Handler {
  return (request, connection, answer) => {
    const startedAt = performance.now();
    requestBegan(connection, startedAt);
    redirect(request, (result) => {
      answer(result);
      const answeredAt = performance.now();
      requestAnswered(connection, answeredAt);
      metrics.redirects.inc({ answer: result.is });
      metrics.redirectDuration.observe((answeredAt - startedAt) / 1_000);
    });
  };
}

/** The response to bytes that are not a valid request. */
function clientErrorAnswer({ line, page }: ClientError, { pages, policy }: ErrorPages): Buffer {
  const body = pages[page];
  const head =
    `HTTP/1.1 ${line}\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Type: text/html; charset=utf-8\r\n` +
    `${policy === null ? '' : `Content-Security-Policy: ${policy}\r\n`}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

function send(response: ServerResponse, { status, headers, body }: HttpAnswer): void {
  response.writeHead(status, [...headers, 'Content-Length', String(body.length)]);
  // Node omits the body in a response to HEAD.
  response.end(body.length === 0 ? undefined : body);
}
