import { createServer, type IncomingMessage, type Server } from 'node:http';
import { capConnections, requestAnswered, requestBegan } from '../connections.ts';
import { errorCode, TollwayError } from '../errors.ts';
import { connectionLimits, isOutOfResources } from '../open-files.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import { isOperationsHost } from './operations-host.ts';
import { describeProblem, type Problem } from './problems.ts';

/**
 * What a part can say about itself. All of it is known in the process: nothing here may ask a database or a broker, so that an answer
 * never takes longer because one of them is frozen.
 */
export type Operations = {
  /** Why the part should get no traffic; empty when it is ready. */
  readonly problems: () => readonly Problem[];
  /** What is wrong and keeps the part from nothing: listed below `ready`. */
  readonly warnings?: () => readonly Problem[];
  readonly metrics: () => Promise<string>;
};

/**
 * Connections that may wait to be accepted; the system lowers it to its own limit (`net.core.somaxconn`). With Node's 511, a burst of
 * connections has the kernel drop others, whose clients try again only after a second.
 */
const BACKLOG = 4_096;

/** Where an operations port tells of its connections. */
export type OperationsDeps = { readonly metrics?: Metrics; readonly logger?: Logger };
export type OperationsAddress = {
  readonly port: number;
  readonly host: string;
  /** The setting of the port, which errors name. */
  readonly setting: string;
  /** Names under which the server is asked, besides those of `isOperationsHost`. */
  readonly allowedHosts: readonly string[];
};

type Answer = { readonly status: number; readonly type?: string; readonly body: string };

/**
 * Serves `/healthz` (the process answers), `/readyz` (200, or 503 with the reasons) and `/metrics`. A request for a host that is not
 * this server gets 421, see `isOperationsHost`. Throws `port_taken`.
 */
export async function serveOperations(
  operations: Operations,
  { port, host, setting, allowedHosts }: OperationsAddress,
  deps: OperationsDeps = {},
): Promise<Server> {
  const allowed = [host, ...allowedHosts].map((name) => name.toLowerCase());
  const server = createServer(async (request, response) => {
    requestBegan(request.socket, performance.now());
    response.once('close', () => requestAnswered(request.socket, performance.now()));
    const { status, type = 'text/plain', body } = await answerTo(request, operations, allowed);
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  capOperations(server, deps);
  await listen(server, port, host, setting);
  return server;
}

/** Keeps an operations port below its share of the open files: whoever reaches it cannot take what clicks need. */
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
): Promise<Answer> {
  if (!isOperationsHost(headers.host, allowed)) {
    const body = `Host ${JSON.stringify(headers.host ?? '')} is not allowed: add it to OPS_ALLOWED_HOSTS\n`;
    return { status: 421, body };
  }
  try {
    switch (url?.split('?')[0]) {
      case '/healthz':
        return { status: 200, body: 'ok\n' };
      case '/readyz': {
        const reasons = problems();
        return reasons.length > 0
          ? { status: 503, body: `not ready\n${lines([...reasons, ...warnings()])}` }
          : { status: 200, body: `ready\n${lines(warnings())}` };
      }
      case '/metrics':
        return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: await metrics() };
      default:
        return { status: 404, body: 'Expected /healthz, /readyz or /metrics\n' };
    }
  } catch (error) {
    return { status: 500, body: `${error instanceof Error ? error.message : String(error)}\n` };
  }
}

function lines(problems: readonly Problem[]): string {
  return problems.map((problem) => `- ${describeProblem(problem).replaceAll('\n', ' ')}\n`).join('');
}

/** Listens, and turns a taken or forbidden port into one clear line that begins with the name of its `setting`. Throws `port_taken`. */
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
      // A connection that could not be accepted for want of descriptors or memory; the next one may be.
      server.on('error', (error) => {
        if (!isOutOfResources(error)) throw error;
      });
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
