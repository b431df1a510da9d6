import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A line to a server that can be cut: every connection breaks at once, and new ones are refused. */
export type TcpProxy = {
  readonly port: number;
  readonly cut: () => Promise<void>;
  readonly mend: () => Promise<void>;
  /** Passes nothing on from now, and keeps every connection, as a server does that is stopped by SIGSTOP. */
  readonly freeze: () => void;
  readonly thaw: () => void;
};

/** Lays a line to a port of this machine. */
export async function layWire(target: number): Promise<TcpProxy> {
  const open = new Set<Socket>();
  let frozen = false;
  const peers = new WeakMap<Socket, Socket>();
  const pass = (from: Socket) => {
    const to = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      open.add(one);
      one.on('error', () => undefined);
      one.once('close', () => {
        open.delete(one);
        other.destroy();
      });
      peers.set(one, other);
      if (!frozen) one.pipe(other);
    }
  };
  const listen = async (port: number): Promise<Server> => {
    const server = createServer(pass).listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    cut: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
    mend: async () => {
      server = await listen(port);
    },
    freeze: () => {
      frozen = true;
      for (const socket of open) socket.unpipe().pause();
    },
    thaw: () => {
      frozen = false;
      for (const socket of open) {
        const peer = peers.get(socket);
        if (peer) socket.pipe(peer);
      }
    },
  };
}
