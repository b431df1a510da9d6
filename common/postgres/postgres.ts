import pg from 'pg';
import { errorCode, TollwayError } from '../errors.ts';
import { sleep } from '../process.ts';
import { writeUuid } from '../uuid.ts';
import { assertSupportedServer } from './version.ts';

export type Pool = pg.Pool;
export type Client = pg.Client;
/** One connection inside a transaction, or alone. */
export type Connection = pg.ClientBase;

const INT8 = 20;
const TIMESTAMPTZ = 1184;

/** `int8` arrives as `bigint`: money is never a float. */
const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === INT8 && format !== 'binary') return (text: string) => BigInt(text);
    if (oid === TIMESTAMPTZ && format !== 'binary') return (text: string) => new Date(text);
    return pg.types.getTypeParser(oid, format as 'text');
  },
} as pg.CustomTypesConfig;

/** Longest wait for a connection, in ms. */
const CONNECT_MS_MAX = 5_000;
/** Silence after which a connection is probed, in ms. */
const KEEP_ALIVE_MS = 10_000;

/**
 * A pool of at most `max` connections to `url`; `onError` hears of idle connections that break. A statement without an
 * answer after `queryMsMax` fails as transient: a connection may die in silence. 0 waits for ever. A connection to a server
 * that is too old is refused with `unsupported_postgres`.
 */
export function createPool(
  url: string,
  name: string,
  max: number,
  onError: (error: Error) => void,
  queryMsMax = 0,
  connectMsMax = CONNECT_MS_MAX,
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
  const clients = new Set<pg.PoolClient>();
  pool.on('connect', (client) => {
    if (clientsOf.has(pool)) clients.add(client);
    // It was still being made when the pool was cut: who waited for it may not begin anything.
    else void endClient(client);
  });
  pool.on('remove', (client) => void clients.delete(client));
  clientsOf.set(pool, clients);
  return pool;
}

/** The connections of a pool, those at work too. A pool that was cut has none. */
const clientsOf = new WeakMap<Pool, Set<pg.PoolClient>>();
/** Longest wait for connections to say good-bye, in ms. */
const CUT_MS_MAX = 200;

/**
 * Ends a pool at once. What is under way on its connections fails, and the server rolls it back; a commit that was on its
 * way may have happened.
 */
export async function terminatePool(pool: Pool): Promise<void> {
  pool.end().catch(() => {});
  const ends = [...(clientsOf.get(pool) ?? [])].map(endClient);
  clientsOf.delete(pool);
  await Promise.race([Promise.allSettled(ends), sleep(CUT_MS_MAX)]);
}

/** The pool's type hides that its clients can be ended; with a query under way `pg` closes the socket. */
function endClient(client: pg.PoolClient): Promise<void> {
  return (client as unknown as pg.Client).end();
}

/** A single connection, for `LISTEN`. Not connected yet. */
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
 * Begins a transaction whose locks the server gives up some 15 s after its client's host is gone without a word; by itself it would
 * look after two hours. https://www.postgresql.org/docs/18/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE
 */
export const BEGIN =
  'begin; set local tcp_keepalives_idle = 5; set local tcp_keepalives_interval = 5; set local tcp_keepalives_count = 2';

/** What the work of a transaction returns to have it rolled back: `value` is then the answer. */
export class RolledBack<T> {
  readonly value: T;

  constructor(value: T) {
    this.value = value;
  }
}

/**
 * Runs `work` in one transaction at `READ COMMITTED` and commits it, or rolls it back where `work` returns a `RolledBack`. Whatever is
 * thrown rolls back too; a connection that may be broken is not put back into the pool.
 */
export async function inTransaction<T>(
  pool: Pool,
  work: (connection: Connection) => Promise<T | RolledBack<T>>,
  begin = BEGIN,
): Promise<T> {
  const connection = await connectTo(pool);
  let broken: unknown;
  // The pool listens only while a connection is idle: one that dies in our hands would end the process.
  const onError = (error: Error) => {
    broken = error;
  };
  connection.on('error', onError);
  try {
    await connection.query(begin);
    const result = await work(connection);
    const isRolledBack = result instanceof RolledBack;
    await connection.query(isRolledBack ? 'rollback' : 'commit');
    return isRolledBack ? result.value : result;
  } catch (error) {
    if (leavesConnectionFit(error)) {
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

/** Errors of connections that were not made: some (of TLS, of a log-in) have no code that says so. */
const neverConnected = new WeakSet<object>();

async function connectTo(pool: Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    if (error instanceof Error) neverConnected.add(error);
    throw error;
  }
}

/**
 * Whether a connection can be used again after an error. Only after one that is about the data or about a race: otherwise a
 * late answer may still be under way, or its prepared statements may be stale or gone.
 */
function leavesConnectionFit(error: unknown): boolean {
  return error instanceof TollwayError || /^(22|23|40|55|P0)/.test(errorCode(error) ?? '');
}

/**
 * A parameter of many numbers or UUIDs, as an array literal. `pg` writes arrays too, but looks at every element
 * for its type and for characters to escape: ten times slower, and a batch has thousands.
 */
export function arrayLiteral(values: readonly (number | bigint | string)[]): string {
  return `{${values.join(',')}}`;
}

const UUID = 2950;
const UUID_BYTES = 16;

/**
 * A parameter `uuid[]` of canonical UUIDs, in the binary form that `pg` sends a Buffer in: thousands of them as text take PostgreSQL
 * as long to read as to look up. Dimensions, flags, type; length and lowest index of the one dimension; then length and bytes of each:
 * https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/arrayfuncs.c (`array_recv`)
 */
export function uuidArray(ids: readonly string[]): Buffer {
  // PostgreSQL knows an empty array as one without dimensions.
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
 * What to do about a failed statement:
 * - `transient`: the same again later can succeed (database away, deadlock, a race lost, a schema not migrated yet);
 * - `invariant`: a constraint says that our arithmetic is wrong: stop;
 * - `permanent`: the same again will fail again.
 */
export type FailureKind = 'transient' | 'invariant' | 'permanent';

/**
 * SQLSTATE classes of errors that lie in the record itself: data exceptions, integrity, and what a trigger raises. Everything
 * else is the server's or the network's state and may pass: a click is never given up for it.
 * https://www.postgresql.org/docs/18/errcodes-appendix.html
 */
const PERMANENT = /^(22|23|P0)/;
/** Another copy of the click was faster; the next look finds it. */
const UNIQUE_VIOLATION = '23505';
const CHECK_VIOLATION = '23514';

/** Sorts an error of `pg` or of its socket. */
export function failureKind(error: unknown): FailureKind {
  if (error instanceof TollwayError) return error.retryable ? 'transient' : 'permanent';
  // Nothing was asked yet: whatever is wrong, it is no record.
  if (error instanceof Error && neverConnected.has(error)) return 'transient';
  const code = errorCode(error);
  if (code === CHECK_VIOLATION) {
    // Postgres reports a row without a partition as a check violation too, but names no constraint.
    const constraint = (error as { constraint?: string }).constraint;
    return constraint === undefined ? 'transient' : 'invariant';
  }
  if (isSqlState(code))
    return PERMANENT.test(code ?? '') && code !== UNIQUE_VIOLATION ? 'permanent' : 'transient';
  return isAway(error) ? 'transient' : 'permanent';
}

/** Whether an error says that the database could not be reached, or that it shut us out. */
export function isAway(error: unknown): boolean {
  const code = errorCode(error);
  if (code === undefined) return isConnectionLoss(error);
  if (isSqlState(code)) return /^(08|53|57)/.test(code);
  // What is left are codes of Node's sockets: ECONNREFUSED, ECONNRESET, ETIMEDOUT, EPIPE, ENOTFOUND, …
  return code.startsWith('E') && !code.startsWith('ERR_');
}

/** Five characters, as some of Node's codes have too (`EPIPE`); no class of SQLSTATE begins with an E. */
function isSqlState(code: string | undefined): boolean {
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('E');
}

/**
 * `pg` reports a connection that ended under a query without any code. These are its texts, the one place
 * where a message is looked at, because there is nothing else; see brianc/node-postgres `client.js`.
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

/** Whether the database answers within two seconds. */
export async function databaseAnswers(pool: Pool): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), 2_000);
  });
  const answer = pool.query('select 1').then(
    () => true,
    () => false,
  );
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}
