import { createServer, type Server } from 'node:http';
import { errorCode, TollwayError } from './errors.ts';

/** What a part can say about itself. `problems` is empty when it is ready to take traffic. */
export type Operations = {
  readonly problems: () => Promise<readonly string[]> | readonly string[];
  readonly metrics: () => Promise<string>;
};

/**
 * Serves `/healthz` (the process answers), `/readyz` (200, or 503 with the reasons) and `/metrics`.
 * Throws `port_taken`.
 */
export async function serveOperations(operations: Operations, port: number, host: string): Promise<Server> {
  const server = createServer(async (request, response) => {
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
  await listen(server, port, host, 'operations');
  return server;
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
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
