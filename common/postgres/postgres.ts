import type { Socket } from 'node:net';
import pg from 'pg';
import { errorCode, TollwayError } from '../errors.ts';
import { sleep } from '../process.ts';
import { writeUuid } from '../uuid.ts';
import { parseTimestamptz } from './parse-timestamptz.ts';
import { assertSupportedServer } from './version.ts';

export type Pool = pg.Pool;
export type Client = pg.Client;
/** A connection: of a pool, inside a transaction, or a single one. */
export type Connection = pg.ClientBase;

const INT8 = 20;
const TIMESTAMPTZ = 1184;

/** Parses `int8` as `bigint`, because money is never a float. */
const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === INT8 && format !== 'binary') return (text: string) => BigInt(text);
    if (oid === TIMESTAMPTZ && format !== 'binary') return parseTimestamptz;
    return pg.types.getTypeParser(oid, format as 'text');
  },
} as pg.CustomTypesConfig;

/** Longest wait for a connection, in ms. */
const CONNECT_MS_MAX = 5_000;
/** Idle time before the first TCP keepalive probe of a connection, in ms. */
const KEEP_ALIVE_MS = 10_000;

/**
 * Creates a pool of at most `max` connections to `url`. `onError` is called for each idle connection that breaks. A statement without an
 * answer after `queryMsMax` ms fails as transient, because a connection can break without a message from the server; 0 sets no limit.
 * The server ends a statement of `inTransaction` after `statementMsMax` ms (SQLSTATE 57014), also if its client has given up; 0 sets no limit.
 * Connecting to a server that is too old, or writes dates in another form than ISO, fails with `unsupported_postgres`.
 */
export function createPool(
  url: string,
  name: string,
  max: number,
  onError: (error: Error) => void,
  queryMsMax = 0,
  connectMsMax = CONNECT_MS_MAX,
  statementMsMax = 0,
): Pool {
  const pool = new pg.Pool({
    query_timeout: queryMsMax,
    connectionString: url,
    application_name: `tollway ${name}`,
    max,
    types,
    connectionTimeoutMillis: connectMsMax,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    verify: (client, done) => void assertSupportedServer(client).then(() => done(), done),
  });
  // Without a listener, an idle connection that breaks ends the process.
  pool.on('error', onError);
  noteFailedConnects(pool);
  const clients = new Set<pg.PoolClient>();
  pool.on('connect', (client) => {
    // pg-pool has no listener while `verify` runs: a server that shuts down then would end the process.
    client.on('error', () => {});
    if (clientsOf.has(pool)) clients.add(client);
    // The pool was terminated while this connection was being made: nothing may start on it.
    else void endClient(client);
  });
  pool.on('remove', (client) => void clients.delete(client));
  clientsOf.set(pool, clients);
  if (statementMsMax > 0) statementMsOf.set(pool, statementMsMax);
  return pool;
}

/** All connections of a pool, idle and in use. A terminated pool has no entry. */
const clientsOf = new WeakMap<Pool, Set<pg.PoolClient>>();
/**
 * The limit of statements of a pool, in ms. It is set in each transaction: PgBouncer refuses it as a startup parameter, and in its mode
 * `transaction` a setting of the session would stay with a server connection that other clients use next.
 */
const statementMsOf = new WeakMap<Pool, number>();
/** Longest wait for connections to close, in ms. */
const TERMINATE_MS_MAX = 200;

/**
 * Closes a pool and all its connections at once. Statements in progress fail and the server rolls them back. A commit in progress may have
 * been committed.
 */
export async function terminatePool(pool: Pool): Promise<void> {
  pool.end().catch(() => {});
  const ends = [...(clientsOf.get(pool) ?? [])].map(endClient);
  clientsOf.delete(pool);
  await Promise.race([Promise.allSettled(ends), sleep(TERMINATE_MS_MAX)]);
}

/**
 * Breaks all connections of a pool, idle and in use, because the server does not answer. Statements in progress fail as if the connection was
 * lost, and nothing waits for the server. The pool can be used on, and connects again.
 */
export function breakConnections(pool: Pool): void {
  for (const client of clientsOf.get(pool) ?? []) {
    // The types lack the socket of a client. `end` waits for the server if no statement is in progress.
    (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }
}

/** Closes a client of a pool. With a query in progress, `pg` destroys the socket. The type of pool clients lacks `end`. */
function endClient(client: pg.PoolClient): Promise<void> {
  return (client as unknown as pg.Client).end();
}

/** Creates a single connection, for `LISTEN`, without connecting it. */
export function createClient(url: string, name: string, queryMsMax = 0): Client {
  return new pg.Client({
    query_timeout: queryMsMax,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    connectionString: url,
    application_name: `tollway ${name}`,
    types,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    keepAlive: true,
  });
}

/**
 * Begins a transaction whose locks the server releases about 15 s after the client's host is lost. With PostgreSQL's default keepalives,
 * the server would notice after two hours. https://www.postgresql.org/docs/18/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE
 */
export const BEGIN =
  'begin; set local tcp_keepalives_idle = 5; set local tcp_keepalives_interval = 5; set local tcp_keepalives_count = 2';

/** The work of a transaction returns this to roll it back. `inTransaction` then returns `value`. */
export class RolledBack<T> {
  readonly value: T;

  constructor(value: T) {
    this.value = value;
  }
}

/**
 * Runs `work` in one transaction at `READ COMMITTED` and commits it. Rolls back if `work` throws or returns a `RolledBack`. Throws if `work`
 * has ignored the error of a statement. A connection that may be broken is not returned to the pool.
 */
export async function inTransaction<T>(
  pool: Pool,
  work: (connection: Connection) => Promise<T | RolledBack<T>>,
  begin = BEGIN,
): Promise<T> {
  const connection = await pool.connect();
  let broken: unknown;
  // The pool handles errors of idle connections only. Without this listener, an error of a connection in use would end the process.
  const onError = (error: Error) => {
    broken = error;
  };
  connection.on('error', onError);
  try {
    const statementMs = statementMsOf.get(pool);
    await connection.query(
      statementMs === undefined ? begin : `${begin}; set local statement_timeout = ${statementMs}`,
    );
    const result = await work(connection);
    if (result instanceof RolledBack) {
      await connection.query('rollback');
      return result.value;
    }
    await commit(connection);
    return result;
  } catch (error) {
    if (isConnectionReusable(error)) {
      await connection.query('rollback').catch((rollbackError: unknown) => {
        broken = rollbackError;
      });
    } else broken = error;
    throw error;
  } finally {
    connection.removeListener('error', onError);
    connection.release(broken !== undefined);
  }
}

/** Errors of commits that got no answer. */
const unansweredCommits = new WeakSet<object>();

async function commit(connection: Connection): Promise<void> {
  const { command } = await connection.query('commit').catch((error: unknown) => {
    if (error instanceof Error && isDatabaseUnavailable(error)) unansweredCommits.add(error);
    throw error;
  });
  // PostgreSQL answers the commit of a transaction in which a statement has failed with a rollback, not with an error.
  if (command !== 'COMMIT')
    throw new Error(`Expected the answer COMMIT, got ${command}: a statement of the transaction has failed`);
}

/** Whether an error of `inTransaction` leaves open if the transaction was committed: the connection was lost during the commit. */
export function isCommitUnanswered(error: unknown): boolean {
  return error instanceof Error && unansweredCommits.has(error);
}

/**
 * Runs `work` in the open transaction of a connection, or in one of its own (`inTransaction`, `begin`) if given a pool. In an open
 * transaction it uses a savepoint: if `work` throws or returns a `RolledBack`, only its own changes are rolled back, and the caller can go on.
 */
export async function joinTransaction<T>(
  database: Pool | Connection,
  work: (connection: Connection) => Promise<T | RolledBack<T>>,
  begin = BEGIN,
): Promise<T> {
  if (database instanceof pg.Pool) return inTransaction(database, work, begin);
  await database.query('savepoint joined');
  try {
    const result = await work(database);
    const isRolledBack = result instanceof RolledBack;
    await database.query(isRolledBack ? ROLL_BACK_JOINED : 'release savepoint joined');
    return isRolledBack ? result.value : result;
  } catch (error) {
    // Otherwise the transaction ends, and the rollback of `inTransaction` reports a broken connection.
    if (isConnectionReusable(error)) await database.query(ROLL_BACK_JOINED).catch(() => {});
    throw error;
  }
}

/** Savepoints of the same name nest: the release uncovers the one of the outer `joinTransaction`. */
const ROLL_BACK_JOINED = 'rollback to savepoint joined; release savepoint joined';

/** Errors of failed connection attempts. Some of them (TLS, a password, a missing database) have no code that says so. */
const neverConnected = new WeakSet<object>();

/** Notes the errors of the failed connection attempts of a pool. Its `query` calls `connect` too. */
function noteFailedConnects(pool: Pool): void {
  type Callback = (error: Error | undefined, ...rest: unknown[]) => void;
  const connect = pool.connect.bind(pool) as (callback: Callback) => void;
  const noted = (callback: Callback) =>
    connect((error, ...rest) => {
      if (error) neverConnected.add(error);
      callback(error, ...rest);
    });
  const promised = () =>
    new Promise((resolve, reject) => {
      noted((error, client) => (error ? reject(error) : resolve(client)));
    });
  // The cast is safe: these are the two forms of `connect`.
  pool.connect = ((callback?: Callback) => (callback ? noted(callback) : promised())) as Pool['connect'];
}

/**
 * Whether a connection can be used again after an error: only if the error is about the data or about a race. Otherwise a late answer may
 * still arrive on it, or its prepared statements may be stale or missing.
 */
function isConnectionReusable(error: unknown): boolean {
  return error instanceof TollwayError || /^(22|23|40|55|P0)/.test(errorCode(error) ?? '');
}

/**
 * An array literal as a parameter of many numbers or UUIDs. `pg` can serialize arrays too, but it checks the type of every element and
 * escapes it, which is ten times slower, and a batch has thousands.
 */
export function arrayLiteral(values: readonly (number | bigint | string)[]): string {
  return `{${values.join(',')}}`;
}

const UUID = 2950;
const UUID_BYTES = 16;

/**
 * A parameter `uuid[]` of canonical UUIDs in binary form, because `pg` sends a Buffer as binary. Parsing thousands of UUIDs from text takes
 * PostgreSQL as long as looking them up. The format: dimensions, flags, type; length and lower bound of the one dimension; then the length
 * and the bytes of each element.
 * https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/arrayfuncs.c (`array_recv`)
 */
export function uuidArray(ids: readonly string[]): Buffer {
  // In PostgreSQL, an empty array has no dimensions.
  const header = ids.length === 0 ? [0, 0, UUID] : [1, 0, UUID, ids.length, 1];
  const array = Buffer.alloc(header.length * 4 + ids.length * (4 + UUID_BYTES));
  let at = 0;
  for (const field of header) at = array.writeInt32BE(field, at);
  for (const id of ids) {
    at = array.writeInt32BE(UUID_BYTES, at);
    writeUuid(array, id, at);
    at += UUID_BYTES;
  }
  return array;
}

/**
 * How to handle a failed statement:
 * - `transient`: a retry can succeed (database unavailable, deadlock, lost race, schema not migrated yet);
 * - `invariant`: a check constraint failed, so the arithmetic of the charge is wrong: stop;
 * - `permanent`: a retry fails again.
 */
export type FailureKind = 'transient' | 'invariant' | 'permanent';

/**
 * SQLSTATE classes of errors in the record itself: data exceptions, integrity violations, and errors that a trigger raises. All other
 * errors come from the state of the server or the network and are temporary, so no click is given up for them.
 * https://www.postgresql.org/docs/18/errcodes-appendix.html
 */
const PERMANENT = /^(22|23|P0)/;
/** Another copy of the click was inserted first. The retry finds it. */
const UNIQUE_VIOLATION = '23505';
const CHECK_VIOLATION = '23514';

/** Classifies an error of `pg` or of its socket. */
export function failureKind(error: unknown): FailureKind {
  if (error instanceof TollwayError) return error.retryable ? 'transient' : 'permanent';
  // No statement was sent, so no record can be the cause.
  if (error instanceof Error && neverConnected.has(error)) return 'transient';
  const code = errorCode(error);
  if (code === CHECK_VIOLATION) {
    // PostgreSQL also reports a row without a partition as a check violation, but without the name of a constraint.
    const constraint = (error as { constraint?: string }).constraint;
    return constraint === undefined ? 'transient' : 'invariant';
  }
  if (isSqlState(code))
    return PERMANENT.test(code ?? '') && code !== UNIQUE_VIOLATION ? 'permanent' : 'transient';
  return isDatabaseUnavailable(error) ? 'transient' : 'permanent';
}

/** Whether an error means that the database could not be reached, refused the connection, such as for a wrong password, or closed it. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (error instanceof TollwayError) return false;
  if (error instanceof Error && neverConnected.has(error)) return true;
  const code = errorCode(error);
  if (code === undefined) return isConnectionLoss(error);
  if (isSqlState(code)) return /^(08|53|57)/.test(code);
  // The remaining codes are those of Node's sockets: ECONNREFUSED, ECONNRESET, ETIMEDOUT, EPIPE, ENOTFOUND, …
  return code.startsWith('E') && !code.startsWith('ERR_');
}

/**
 * Whether a code is a SQLSTATE, which only a server sends. It has five characters, as have some codes of Node (`EPIPE`), but no SQLSTATE class
 * begins with an E.
 */
export function isSqlState(code: string | undefined): boolean {
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('E');
}

/**
 * Whether an error is one of those that `pg` reports without a code for a lost connection. Compares the message, because the error has
 * nothing else; see brianc/node-postgres `client.js`.
 */
function isConnectionLoss(error: unknown): boolean {
  if (error instanceof AggregateError) return true;
  return (
    error instanceof Error &&
    /^(Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|Client was closed|Query read timeout)/.test(
      error.message,
    )
  );
}
