import type { Server } from 'node:http';
import { type Connection, hasRequested, isWaiting } from '../../../common/connections.ts';
import { FrontConnection, type FrontDependencies } from './front-connection.ts';

/** Time between two checks for silent connections, in ms: the `connectionsCheckingInterval` of the server. */
const CHECK_MS = 5_000;

/** The connections that the front has not handed over to the server. */
export type Front = {
  /** Closes those without a request in progress, except new ones that have not sent one yet, as `closeIdleConnections` does. */
  readonly closeIdle: () => void;
  readonly closeAll: () => void;
};

/**
 * Puts a front before a new server. The front answers plain requests (`scanRequests`) itself. With the first other bytes of a connection,
 * it hands over the connection to the server for good, and these bytes with it.
 */
export function putFront(server: Server, dependencies: FrontDependencies): Front {
  // The only listener of a new server is the one of node:http that parses requests.
  const [serve, ...others] = server.listeners('connection');
  if (serve === undefined || others.length > 0) {
    throw new Error(`Expected a server with one listener of connections, got ${others.length + 1}`);
  }
  server.removeAllListeners('connection');
  const connections = new Set<FrontConnection>();
  server.on('connection', (socket: Connection) => {
    const connection: FrontConnection = new FrontConnection(socket, dependencies, {
      onHandOver: () => serve.call(server, socket),
      onError: (error) => server.emit('clientError', error, socket),
      onGone: () => connections.delete(connection),
    });
    connections.add(connection);
  });
  refuseSilent(server, connections);
  return {
    closeIdle: () => {
      for (const { socket } of connections) if (hasRequested(socket) && !isWaiting(socket)) socket.destroy();
    },
    closeAll: () => {
      for (const { socket } of connections) socket.destroy();
    },
  };
}

/** Refuses connections that send no request within the `headersTimeout` of the server, with the error of node:http. */
function refuseSilent(server: Server, connections: ReadonlySet<FrontConnection>): void {
  const check = setInterval(() => {
    const openedBefore = performance.now() - server.headersTimeout;
    for (const connection of connections) {
      if (connection.openedAt < openedBefore && !hasRequested(connection.socket)) {
        const message = 'Expected a request, got none in time';
        connection.fail(Object.assign(new Error(message), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }));
      }
    }
  }, CHECK_MS);
  check.unref();
  server.once('close', () => clearInterval(check));
}
