import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A line to a server of this machine: it can break, refuse, or go dead in silence, as networks do. */
export type Line = {
  readonly port: number;
  /** Those that are open now break when something is sent on them: what a client meets that slept as they broke. */
  readonly snapOpen: () => void;
  /** Connections are taken, and nothing passes any more, in the old ones either. */
  readonly hush: () => void;
  /** Only those that are open now go dead. */
  readonly hushOpen: () => void;
  /** New connections pass again; those that went dead stay so. */
  readonly speak: () => void;
  readonly close: () => Promise<void>;
};

/** Lays a line to a port. */
export async function layLine(target: number): Promise<Line> {
  const open = new Set<Socket>();
  const fromClients = new Set<Socket>();
  let hushed = false;
  const track = (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => open.delete(socket));
  };
  const server: Server = createServer((from) => {
    track(from);
    fromClients.add(from);
    from.once('close', () => fromClients.delete(from));
    if (hushed) return;
    const to = connect(target, '127.0.0.1');
    track(to);
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      one.pipe(other);
      one.once('close', () => other.destroy());
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const hushOpen = () => {
    for (const socket of open) socket.unpipe().pause();
  };
  return {
    port: (server.address() as AddressInfo).port,
    snapOpen: () => {
      for (const socket of fromClients)
        socket
          .unpipe()
          .on('data', () => socket.destroy())
          .resume();
    },
    hush: () => {
      hushed = true;
      hushOpen();
    },
    hushOpen,
    speak: () => {
      hushed = false;
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
