import type { Server } from 'node:http';
import type { Socket } from 'node:net';

const WAITING = Symbol('requests without an answer');
const USED_AT = Symbol('when it was opened, or a request was last begun or answered');
const ASKED = Symbol('whether it has sent a request');
/** A connection carries its own state, so that a request finds it without a look-up. Times are `performance.now()`. */
export type Connection = Socket & { [WAITING]?: number; [USED_AT]?: number; [ASKED]?: true };

/** A request has come over a connection. */
export function requestBegan(connection: Connection, nowMs: number): void {
  connection[WAITING] = (connection[WAITING] ?? 0) + 1;
  connection[USED_AT] = nowMs;
  connection[ASKED] = true;
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
 * Ends connections on which nothing was asked for `idleMs`, within a fiftieth of that, so that a burst of connections is not closed in
 * one turn of the event loop; one that has not asked yet is the server's own to
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
      const { [USED_AT]: usedAt, [ASKED]: asked } = connection;
      if (asked && usedAt !== undefined && usedAt < idleSince && !isWaiting(connection)) connection.destroy();
    }
  }, idleMs / 50);
  server.once('close', () => clearInterval(sweep));
  sweep.unref();
}

/** Why a connection was closed before its time: the port has all that it may have, or the connection's source has. */
export type Displacement = 'full' | 'source';

export type ConnectionCap = {
  /** Most connections at once. */
  readonly max: number;
  /** Most connections from one source: an IPv4 address or an IPv6 /64. `Infinity` sets no limit. */
  readonly maxPerSource: number;
  /** Whether a peer may have as many as it wants, as a trusted proxy does. */
  readonly isExempt: (address: string) => boolean;
  readonly onDisplaced: (why: Displacement) => void;
};

/** The connections of a server that has a cap. */
export type CappedConnections = { readonly open: () => number };

/**
 * Keeps a server's connections below a cap: the longest-idle connection is closed for a new one, as nginx does with
 * `worker_connections`. A connection whose request has no answer yet is not idle; when all are busy, the new one is closed. The server
 * has to report requests by `requestBegan` and `requestAnswered`.
 */
export function capConnections(server: Server, cap: ConnectionCap): CappedConnections {
  const all = new Group();
  const sources = new Map<string, Group>();
  const groupsOf = new WeakMap<Connection, { own: Group; source: string }>();
  /** Closes a connection. Its descriptor is free when this returns. */
  const forget = (connection: Connection) => {
    const groups = groupsOf.get(connection);
    if (!groups || !all.remove(connection)) return;
    groups.own.remove(connection);
    if (groups.own.size === 0) sources.delete(groups.source);
    connection.destroy();
  };
  server.on('connection', (connection: Connection) => {
    const address = connection.remoteAddress;
    // The peer has gone already: the socket closes by itself.
    if (address === undefined) return void connection.destroy();
    connection[USED_AT] = performance.now();
    const source = sourceOf(address);
    const own = sources.get(source) ?? new Group();
    const isLimited = own.size >= cap.maxPerSource && !cap.isExempt(address);
    const why = isLimited ? 'source' : all.size >= cap.max ? 'full' : null;
    if (why !== null) {
      cap.onDisplaced(why);
      const idle = (isLimited ? own : all).longestIdle();
      if (idle === null) return void connection.destroy();
      forget(idle);
    }
    sources.set(source, own);
    all.add(connection);
    own.add(connection);
    groupsOf.set(connection, { own, source });
    connection.once('close', () => forget(connection));
  });
  return { open: () => all.size };
}

/** Connections that share a limit. */
class Group {
  private readonly connections = new Set<Connection>();
  /** The longest-idle connections of the last look, the longest-idle one last. */
  private candidates: { connection: Connection; usedAt: number }[] = [];

  get size(): number {
    return this.connections.size;
  }

  add(connection: Connection): void {
    this.connections.add(connection);
  }

  remove(connection: Connection): boolean {
    return this.connections.delete(connection);
  }

  /**
   * The connection that has been idle longest, or `null` when all are busy. One look over all connections serves the next sixteenth
   * of them: what was not used since that look is still the longest-idle, because every use since is later.
   */
  longestIdle(): Connection | null {
    const known = this.nextCandidate();
    if (known !== null) return known;
    const idle = [...this.connections]
      .filter((connection) => !isWaiting(connection))
      .map((connection) => ({ connection, usedAt: connection[USED_AT] ?? 0 }));
    idle.sort((one, other) => one.usedAt - other.usedAt);
    this.candidates = idle.slice(0, Math.ceil(this.size / 16)).reverse();
    return this.nextCandidate();
  }

  private nextCandidate(): Connection | null {
    for (let next = this.candidates.pop(); next !== undefined; next = this.candidates.pop()) {
      const { connection, usedAt } = next;
      if (this.connections.has(connection) && connection[USED_AT] === usedAt && !isWaiting(connection))
        return connection;
    }
    return null;
  }
}

const MAPPED = '::ffff:';

/** What a limit for one visitor is counted by: an IPv4 address, or the /64 of an IPv6 address, all of which one host may use. */
export function sourceOf(address: string): string {
  if (address.startsWith(MAPPED)) return address.slice(MAPPED.length);
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros =
    tail === undefined ? [] : Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0');
  return `${[...front, ...zeros, ...back].slice(0, 4).join(':')}::/64`;
}
