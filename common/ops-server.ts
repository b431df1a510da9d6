import { createServer, type Server } from 'node:http';
import { capConnections, requestAnswered, requestBegan } from './connections.ts';
import { errorCode, TollwayError } from './errors.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import { connectionLimits, isOutOfResources } from './open-files.ts';

/** What a part can say about itself. `problems` is empty when it is ready to take traffic. */
export type Operations = {
  readonly problems: () => Promise<readonly string[]> | readonly string[];
  readonly metrics: () => Promise<string>;
};

/** Where an operations port tells of its connections. */
export type OperationsDeps = { readonly metrics?: Metrics; readonly logger?: Logger };

/**
 * Serves `/healthz` (the process answers), `/readyz` (200, or 503 with the reasons) and `/metrics`.
 * Throws `port_taken`.
 */
export async function serveOperations(
  operations: Operations,
  port: number,
  host: string,
  deps: OperationsDeps = {},
): Promise<Server> {
  const server = createServer(async (request, response) => {
    requestBegan(request.socket, performance.now());
    response.once('close', () => requestAnswered(request.socket, performance.now()));
    const answer = (status: number, type: string, body: string) =>
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
    try {
      switch (request.url?.split('?')[0]) {
        case '/healthz':
          return answer(200, 'text/plain', 'ok\n');
        case '/readyz': {
          const problems = await operations.problems();
          return problems.length === 0
            ? answer(200, 'text/plain', 'ready\n')
            : answer(503, 'text/plain', `not ready\n${problems.map((problem) => `- ${problem}\n`).join('')}`);
        }
        case '/metrics':
          return answer(200, 'text/plain; version=0.0.4; charset=utf-8', await operations.metrics());
        default:
          return answer(404, 'text/plain', 'Expected /healthz, /readyz or /metrics\n');
      }
    } catch (error) {
      return answer(500, 'text/plain', `${error instanceof Error ? error.message : String(error)}\n`);
    }
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  capOperations(server, deps);
  await listen(server, port, host, 'operations');
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

/** Listens, and turns a taken or forbidden port into one clear line. Throws `port_taken`. */
export function listen(
  server: Server,
  port: number,
  host: string,
  what: string,
  { reusePort = false }: { reusePort?: boolean } = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const reason = errorCode(cause) === 'EADDRINUSE' ? 'is taken' : `cannot be used (${errorCode(cause)})`;
      reject(new TollwayError('port_taken', `The ${what} port ${host}:${port} ${reason}`, { cause }));
    });
    server.listen({ port, host, reusePort }, () => {
      // A connection that could not be accepted for want of descriptors or memory; the next one may be.
      server.on('error', (error) => {
        if (!isOutOfResources(error)) throw error;
      });
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
