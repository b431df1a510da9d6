import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A proxy to a local server, which simulates failures of networks and servers. */
export type TcpProxy = {
  /** The URL of the server with the address of the proxy. */
  readonly url: string;
  /** How many connections are open. */
  readonly connections: () => number;
  /** Breaks every connection and refuses new ones. */
  readonly cut: () => Promise<void>;
  /** Accepts connections again after `cut`. */
  readonly restore: () => Promise<void>;
  /** Forwards nothing and keeps every connection, as a server that is stopped by SIGSTOP. Accepts new connections. */
  readonly freeze: () => void;
  /** Forwards everything again after `freeze`, including what was sent since. */
  readonly thaw: () => void;
  /** Forwards new connections again after `freeze`. The current ones never forward anything again. */
  readonly thawNew: () => void;
  /** Current connections never forward anything again, as if a firewall had dropped their state. */
  readonly freezeOpen: () => void;
  /** Connections that are open now break as soon as the client sends something. */
  readonly breakOpenOnSend: () => void;
  /** Breaks every connection and ends the proxy. */
  readonly close: () => Promise<void>;
};

type Connection = { readonly client: Socket; readonly server: Socket };

/** Starts a proxy to the server of a URL, on a free port. */
export async function startTcpProxy(serverUrl: string): Promise<TcpProxy> {
  const url = new URL(serverUrl);
  const { hostname, port: serverPort } = url;
  const open = new Set<Connection>();
  /** Frozen permanently. */
  const lost = new WeakSet<Connection>();
  let isFrozen = false;
  const accept = (client: Socket) => {
    const connection = { client, server: connect(Number(serverPort), hostname) };
    open.add(connection);
    for (const socket of [client, connection.server]) {
      // A broken connection is what the proxy is for; `close` follows.
      socket.on('error', () => undefined);
      socket.once('close', () => {
        open.delete(connection);
        destroy(connection);
      });
    }
    if (!isFrozen) pass(connection);
  };
  const listen = async (port: number): Promise<Server> => {
    const server = createServer(accept).listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;
  url.host = `127.0.0.1:${port}`;
  const cut = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const connection of open) destroy(connection);
    await closed;
  };
  const freezeOpen = () => {
    for (const connection of open) {
      lost.add(connection);
      hold(connection);
    }
  };
  return {
    url: url.href,
    connections: () => open.size,
    cut,
    restore: async () => {
      server = await listen(port);
    },
    freeze: () => {
      isFrozen = true;
      for (const connection of open) hold(connection);
    },
    thaw: () => {
      isFrozen = false;
      for (const connection of open) if (!lost.has(connection)) pass(connection);
    },
    thawNew: () => {
      isFrozen = false;
      freezeOpen();
    },
    freezeOpen,
    breakOpenOnSend: () => {
      for (const { client } of open) breakOnSend(client);
    },
    close: cut,
  };
}

function pass({ client, server }: Connection): void {
  client.pipe(server);
  server.pipe(client);
}

function hold({ client, server }: Connection): void {
  for (const socket of [client, server]) socket.unpipe().pause();
}

function breakOnSend(client: Socket): void {
  client
    .unpipe()
    .on('data', () => client.destroy())
    .resume();
}

function destroy({ client, server }: Connection): void {
  client.destroy();
  server.destroy();
}
