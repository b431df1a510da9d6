import type { IncomingMessage, Server } from 'node:http';
import { capConnections, requestAnswered, requestBegan } from '../connections.ts';
import { errorCode, TollwayError } from '../errors.ts';
import { PAGE_POLICY } from '../html-page.ts';
import { createServer } from '../node-http.ts';
import { connectionLimits, isOutOfResources } from '../open-files.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import { isOperationsHost } from './operations-host.ts';
import { renderOperationsPage } from './operations-page.ts';
import { describeProblem, type Problem } from './problems.ts';

/**
 * The state of a component. These functions must not query a database or a broker: a frozen server must not delay the answers of the
 * operations port.
 */
export type Operations = {
  /** The name of the component, such as `ad server`, for the page at `/`. */
  readonly component: string;
  /** Why the component must get no traffic; empty when it is ready. */
  readonly problems: () => readonly Problem[];
  /** Problems that do not affect readiness; listed below `ready`. */
  readonly warnings?: () => readonly Problem[];
  readonly metrics: () => Promise<string>;
};

/**
 * Maximum connections that wait to be accepted; the system lowers it to its own limit (`net.core.somaxconn`). With Node's default of 511,
 * the kernel drops connections of a burst, and their clients retry only after a second.
 */
const BACKLOG = 4_096;

/** Metrics and log of the connections of an operations port. */
export type OperationsDeps = { readonly metrics?: Metrics; readonly logger?: Logger };
export type OperationsAddress = {
  readonly port: number;
  readonly host: string;
  /** The name of the port's setting, for errors. */
  readonly setting: string;
  /** Allowed host names besides those of `isOperationsHost`. */
  readonly allowedHosts: readonly string[];
};

type Answer = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
};

const PAGE_HEADERS = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': PAGE_POLICY };
const METRICS_HEADERS = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' };

/**
 * Serves `/` (a page with links), `/healthz` (200 while the process answers), `/readyz` (200, or 503 with the reasons) and `/metrics`. A
 * request with another host than this server gets 421, see `isOperationsHost`. Throws `port_taken`.
 */
export async function serveOperations(
  operations: Operations,
  { port, host, setting, allowedHosts }: OperationsAddress,
  deps: OperationsDeps = {},
): Promise<Server> {
  const allowed = [host, ...allowedHosts].map((name) => name.toLowerCase());
  const page: Answer = {
    status: 200,
    headers: PAGE_HEADERS,
    body: renderOperationsPage(operations.component),
  };
  const server = createServer(async (request, response) => {
    requestBegan(request.socket, performance.now());
    response.once('close', () => requestAnswered(request.socket, performance.now()));
    const { status, headers, body } = await answerTo(request, operations, allowed, page);
    response
      .writeHead(status, { 'content-type': 'text/plain', 'cache-control': 'no-store', ...headers })
      .end(body);
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  capOperations(server, deps);
  await listen(server, port, host, setting);
  return server;
}

/** Limits the connections of an operations port, so that its clients cannot use up the descriptors that clicks need. */
function capOperations(server: Server, { metrics, logger }: OperationsDeps): void {
  const { operations: max } = connectionLimits();
  const port = 'operations';
  const { open } = capConnections(server, {
    max,
    maxPerSource: Number.POSITIVE_INFINITY,
    isExempt: () => true,
    onDisplaced: (reason) => metrics?.connectionsDisplaced.inc({ port, reason }),
  });
  metrics?.connectionsMax.set({ port }, max);
  server.on('request', () => metrics?.connections.set({ port }, open()));
  logger?.info({ connectionsMax: max }, `At most ${max} connections on the operations port`);
}

async function answerTo(
  { url, headers }: IncomingMessage,
  { problems, warnings = () => [], metrics }: Operations,
  allowed: readonly string[],
  page: Answer,
): Promise<Answer> {
  if (!isOperationsHost(headers.host, allowed)) {
    const body = `Host ${JSON.stringify(headers.host ?? '')} is not allowed: add it to OPS_ALLOWED_HOSTS\n`;
    return { status: 421, body };
  }
  try {
    switch (url?.split('?')[0]) {
      case '/':
        return page;
      case '/healthz':
        return { status: 200, body: 'ok\n' };
      case '/readyz': {
        const reasons = problems();
        return reasons.length > 0
          ? { status: 503, body: `not ready\n${lines([...reasons, ...warnings()])}` }
          : { status: 200, body: `ready\n${lines(warnings())}` };
      }
      case '/metrics':
        return { status: 200, headers: METRICS_HEADERS, body: await metrics() };
      default:
        return { status: 404, body: 'Expected /, /healthz, /readyz or /metrics\n' };
    }
  } catch (error) {
    return { status: 500, body: `${error instanceof Error ? error.message : String(error)}\n` };
  }
}

function lines(problems: readonly Problem[]): string {
  return problems.map((problem) => `- ${describeProblem(problem).replaceAll('\n', ' ')}\n`).join('');
}

/**
 * Listens, and resolves to the port. Throws `port_taken`, with the name of the `setting`, if the port is in use or not allowed.
 */
export function listen(
  server: Server,
  port: number,
  host: string,
  setting: string,
  { reusePort = false }: { reusePort?: boolean } = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const reason = errorCode(cause) === 'EADDRINUSE' ? 'is taken' : `cannot be used (${errorCode(cause)})`;
      reject(new TollwayError('port_taken', `${setting}: ${host}:${port} ${reason}`, { cause }));
    });
    server.listen({ port, host, reusePort, backlog: BACKLOG }, () => {
      // A connection could not be accepted for lack of descriptors or memory. The next one can be.
      server.on('error', (error) => {
        if (!isOutOfResources(error)) throw error;
      });
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
