import type { Server } from 'node:http';
import type { Socket } from 'node:net';

const WAITING = Symbol('requests without an answer');
const USED_AT = Symbol('when a request was last begun or answered');
/** What is known of a connection stands on its socket, which every request has at hand. Times are `performance.now()`. */
export type Connection = Socket & { [WAITING]?: number; [USED_AT]?: number };

/** A request has come over a connection. */
export function requestBegan(connection: Connection, nowMs: number): void {
  connection[WAITING] = (connection[WAITING] ?? 0) + 1;
  connection[USED_AT] = nowMs;
}

/** A request of a connection has got its answer. */
export function requestAnswered(connection: Connection, nowMs: number): void {
  connection[WAITING] = (connection[WAITING] ?? 1) - 1;
  connection[USED_AT] = nowMs;
}

/** Whether a request of a connection has no answer yet. */
export function isWaiting(connection: Connection): boolean {
  return (connection[WAITING] ?? 0) > 0;
}

/**
 * Ends connections on which nothing was asked for `idleMs`, within a tenth of that; one that has not asked yet is the server's own to
 * time out. In place of Node's `keepAliveTimeout`, which arms and clears a timer for every answer: 4 % of a redirect.
 */
export function endIdleConnections(server: Server, idleMs: number): void {
  const connections = new Set<Connection>();
  server.on('connection', (connection: Connection) => {
    connections.add(connection);
    connection.once('close', () => connections.delete(connection));
  });
  const sweep = setInterval(() => {
    const idleSince = performance.now() - idleMs;
    for (const connection of connections) {
      const { [USED_AT]: usedAt } = connection;
      if (usedAt !== undefined && usedAt < idleSince && !isWaiting(connection)) connection.destroy();
    }
  }, idleMs / 10);
  server.once('close', () => clearInterval(sweep));
  sweep.unref();
}
