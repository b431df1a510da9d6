import type { Server } from 'node:http';
import type { Socket } from 'node:net';

const PENDING = Symbol('requests without an answer');
const USED_AT = Symbol('time when it was opened, or when its last request began or was answered');
const HAS_REQUESTED = Symbol('whether it has sent a request');
/** The state is stored on the connection itself, so that a request needs no look-up. Times are `performance.now()`, in ms. */
export type Connection = Socket & { [PENDING]?: number; [USED_AT]?: number; [HAS_REQUESTED]?: true };

/** Counts a request that has arrived on a connection. */
export function requestBegan(connection: Connection, nowMs: number): void {
  connection[PENDING] = (connection[PENDING] ?? 0) + 1;
  connection[USED_AT] = nowMs;
  connection[HAS_REQUESTED] = true;
}

/** Counts a request of a connection as answered. */
export function requestAnswered(connection: Connection, nowMs: number): void {
  connection[PENDING] = (connection[PENDING] ?? 1) - 1;
  connection[USED_AT] = nowMs;
}

/** Whether a connection has sent a request. */
export function hasRequested(connection: Connection): boolean {
  return connection[HAS_REQUESTED] ?? false;
}

/** Whether a request of a connection has no answer yet. */
export function isWaiting(connection: Connection): boolean {
  return (connection[PENDING] ?? 0) > 0;
}

/**
 * Closes connections that have been idle for `idleMs`. Checks every `idleMs / 50`, so that a burst of connections is not closed in one
 * iteration of the event loop. Connections without a first request are left to the server's own timeouts. Replaces Node's
 * `keepAliveTimeout`, which sets and clears a timer for every response: 4 % of the CPU time of a redirect.
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
      const { [USED_AT]: usedAt, [HAS_REQUESTED]: hasRequested } = connection;
      if (hasRequested && usedAt !== undefined && usedAt < idleSince && !isWaiting(connection))
        connection.destroy();
    }
  }, idleMs / 50);
  server.once('close', () => clearInterval(sweep));
  sweep.unref();
}

/** Why a connection was closed early: the port has reached its limit, or the source of the connection has. */
export type Displacement = 'full' | 'source';

export type ConnectionCap = {
  /** Maximum connections at a time. */
  readonly max: number;
  /** Maximum connections from one source: an IPv4 address or an IPv6 /64. `Infinity` sets no limit. */
  readonly maxPerSource: number;
  /** Whether a peer, such as a trusted proxy, is exempt from `maxPerSource`. */
  readonly isExempt: (address: string) => boolean;
  readonly onDisplaced: (why: Displacement) => void;
};

/** The connections of a server that has a cap. */
export type CappedConnections = { readonly open: () => number };

/**
 * Caps the connections of a server: at the cap, the longest-idle connection is closed for a new one, as nginx does with
 * `worker_connections`. A connection with an unanswered request is not idle. When none is idle, the new connection is closed. The server
 * must report requests with `requestBegan` and `requestAnswered`.
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
    // The peer has already disconnected.
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
  /** The longest-idle connections of the last scan. The longest-idle one is last. */
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
   * The longest-idle connection, or `null` when all are busy. One scan finds a sixteenth of the connections: a candidate that has not been
   * used since the scan is still the longest-idle one, because all later uses are newer.
   */
  longestIdle(): Connection | null {
    const candidate = this.nextCandidate();
    if (candidate !== null) return candidate;
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

/** The key of a limit per visitor: an IPv4 address, or the /64 of an IPv6 address, because one host can use the whole /64. */
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
