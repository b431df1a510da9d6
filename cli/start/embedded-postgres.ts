import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { arch, platform } from 'node:process';
import { promisify } from 'node:util';
import { createFolder } from '../../common/create-folder.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { createClient } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { assertCluster } from './assert-cluster.ts';
import { keepSessionsLow, lowerPriority } from './lower-priority.ts';

const run = promisify(execFile);

/** Settings of the embedded server. Durability is PostgreSQL's default: everything is on. */
const SERVER_SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '256MB',
  max_wal_size: '2GB',
  autovacuum_naptime: '10s',
  jit: 'off',
  log_min_messages: 'warning',
};
const DATABASE = 'tollway';
/** Longest wait for the end of a server whose `npm start` was killed, in ms. */
const TAKE_OVER_MS = 15_000;
const STOP_SECONDS = 2;
/** Age of a file without a process id, in ms, from which on no server is about to write it. */
const PID_WRITTEN_MS = 2_000;

/** The PostgreSQL that `npm start` runs in the data folder. */
export type EmbeddedPostgres = {
  readonly url: string;
  /** Starts it again if it has died; resolves to whether it had died. */
  readonly restartIfDead: () => Promise<boolean>;
  readonly stop: () => Promise<void>;
};

/**
 * Starts the embedded PostgreSQL of a data folder, and creates it first if there is none. A server whose `npm start` was killed is
 * stopped and started again. The caller holds the lock of the data folder. With `hasLowPriority`, other processes get the CPU first.
 * Throws `embedded_postgres`.
 */
export async function startEmbeddedPostgres(
  dataDir: string,
  logger: Logger,
  { hasLowPriority = false } = {},
): Promise<EmbeddedPostgres> {
  const folder = resolve(dataDir, 'postgres');
  assertReachable(folder);
  const { pgCtl, postgres } = await findBinaries();
  const state = readState(dataDir);
  if (!existsSync(folder)) await initialise(folder, postgres, state.password);
  else assertCluster(folder, await readMajor(postgres));

  const port = await freePort(state.port);
  writeState(dataDir, { ...state, port });
  const server = { pgCtl, folder, port, logger, hasLowPriority };
  await stopServer(server, STOP_SECONDS);
  await startServer(server);
  const serverUrl = `postgres://postgres:${state.password}@127.0.0.1:${port}`;
  await createDatabase(`${serverUrl}/postgres`);
  return {
    url: `${serverUrl}/${DATABASE}`,
    restartIfDead: () => startServer(server),
    stop: () => stopServer(server, STOP_SECONDS),
  };
}

type Server = {
  readonly pgCtl: string;
  readonly folder: string;
  readonly port: number;
  readonly logger: Logger;
  readonly hasLowPriority: boolean;
};

/** Starts a server that does not run, after processes of the server before have ended. */
async function startServer({ pgCtl, folder, port, logger, hasLowPriority }: Server): Promise<boolean> {
  const options = Object.entries({ ...SERVER_SETTINGS, port }).map(
    ([name, value]) => `-c ${name}='${value}'`,
  );
  const args = ['start', '-w', '-s', '-D', folder, '-l', join(folder, 'server.log'), '-o', options.join(' ')];
  const deadline = performance.now() + TAKE_OVER_MS;
  for (;;) {
    if (await isRunning(pgCtl, folder)) return false;
    try {
      // pg_ctl starts the server in its own session: a Ctrl-C in the terminal does not reach it.
      await spawnQuietly(pgCtl, args, (pid) => hasLowPriority && lowerPriority(pid, logger));
      if (hasLowPriority) keepSessionsLow(readProcessId(folder), logger);
      return true;
    } catch (error) {
      if (performance.now() > deadline) {
        const log = lastLines(join(folder, 'server.log'));
        throw new TollwayError(
          'embedded_postgres',
          `Expected the embedded PostgreSQL to start, got: ${errorMessage(error)}\n${log}`,
        );
      }
      logger.debug({ problem: errorMessage(error) }, 'The embedded PostgreSQL does not start yet');
      await sleep(300);
    }
  }
}

/** Stops a server, in mode `fast` and then `immediate`: after an immediate stop the next start recovers, as after a crash. */
async function stopServer({ pgCtl, folder, logger }: Server, seconds: number): Promise<void> {
  for (const mode of ['fast', 'immediate']) {
    if (!(await isRunning(pgCtl, folder))) return;
    const args = ['stop', '-w', '-s', '-D', folder, '-m', mode, '-t', String(seconds)];
    // The server can end by itself before this command.
    await run(pgCtl, args, owner()).catch((error: unknown) =>
      logger.debug({ err: error, mode }, 'Not stopped yet'),
    );
  }
}

async function isRunning(pgCtl: string, folder: string): Promise<boolean> {
  removeStalePidFile(folder);
  // A server that runs has this file. pg_ctl looks for it too.
  if (!existsSync(pidFileOf(folder))) return false;
  return run(pgCtl, ['status', '-D', folder], owner()).then(
    () => true,
    () => false,
  );
}

function pidFileOf(folder: string): string {
  return join(folder, 'postmaster.pid');
}

/** Removes a file of the process id that prevents the start, although no server runs. */
function removeStalePidFile(folder: string): void {
  if (isStalePidFile(folder)) rmSync(pidFileOf(folder), { force: true });
}

/**
 * Whether the process id belongs to another process since a crash: pg_ctl would take that process for the server. Or whether there is no
 * process id, because power was lost before the disk had it: pg_ctl refuses to start. A server writes it right after it has created the file.
 */
function isStalePidFile(folder: string): boolean {
  const pid = readProcessId(folder);
  if (!pid) {
    const file = statSync(pidFileOf(folder), { throwIfNoEntry: false });
    return file !== undefined && Math.abs(Date.now() - file.mtimeMs) > PID_WRITTEN_MS;
  }
  const commandLine = `/proc/${pid}/cmdline`;
  return existsSync(commandLine) && !readFileSync(commandLine, 'utf8').includes(folder);
}

/** The process id of a server that was started; 0 or NaN if the file has none. The file of one that was just stopped can be gone. */
function readProcessId(folder: string): number | undefined {
  if (!existsSync(pidFileOf(folder))) return;
  return Number(readFileSync(pidFileOf(folder), 'utf8').split('\n')[0]);
}

async function spawnQuietly(
  command: string,
  args: readonly string[],
  onSpawned: (pid: number | undefined) => void,
): Promise<void> {
  // The server inherits these. With a pipe among them, this process would wait for the end of the server.
  const child = spawn(command, args, { stdio: 'ignore', ...owner() });
  onSpawned(child.pid);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`pg_ctl ended with ${code}`);
}

/**
 * Creates the cluster with a throwaway password, and then sets `password`. `embedded-postgres` passes its password to initdb in a file that
 * every user can read; `password` goes through the standard input of a server without a network (single-user mode).
 */
async function initialise(folder: string, postgres: string, password: string): Promise<void> {
  // Created under another name and then renamed: a folder with the right name is complete.
  const unfinished = `${folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const script = join(import.meta.dirname, 'init-postgres.ts');
  const throwaway = randomBytes(18).toString('hex');
  await runWithInput(process.execPath, [script, unfinished], throwaway, { env: serverEnvironment() });
  const statement = `alter role postgres password '${password}';\n`;
  await runWithInput(postgres, ['--single', '-D', unfinished, 'postgres'], statement, owner());
  renameSync(unfinished, folder);
}

/** Runs a program to its end with a text on its standard input. Throws `embedded_postgres` with its error output. */
async function runWithInput(
  program: string,
  args: readonly string[],
  input: string,
  options: { uid?: number; gid?: number; env: NodeJS.ProcessEnv },
): Promise<void> {
  const child = execFile(program, args, options);
  // An error here means that the program ended before it read everything; its exit code says why.
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  let errorOutput = '';
  child.stderr?.on('data', (text) => {
    errorOutput += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) {
    const message = `Expected to create the embedded PostgreSQL, got: ${errorOutput.trim()}`;
    throw new TollwayError('embedded_postgres', message);
  }
}

/** The variables that the server inherits: paths and languages, no link keys and no credentials. */
const SERVER_VARIABLES =
  /^(PATH|HOME|USER|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|TEMP|TMP|SYSTEMROOT|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH)$/i;

function serverEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => SERVER_VARIABLES.test(name)));
}

async function createDatabase(url: string): Promise<void> {
  const client = createClient(url, 'start');
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

type SavedState = { readonly password: string; readonly port: number };

function statePath(dataDir: string): string {
  return join(dataDir, 'postgres.json');
}

/** Reads the password and the last port from a file beside the cluster. The file is written before the cluster is created. */
function readState(dataDir: string): SavedState {
  if (existsSync(statePath(dataDir)))
    return JSON.parse(readFileSync(statePath(dataDir), 'utf8')) as SavedState;
  const state = { password: randomBytes(18).toString('hex'), port: 0 };
  writeState(dataDir, state);
  return state;
}

function writeState(dataDir: string, state: SavedState): void {
  const temporary = `${statePath(dataDir)}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify(state), { mode: 0o600 });
  renameSync(temporary, statePath(dataDir));
}

/** A free port of the loopback interface: the preferred one, or any. */
async function freePort(preferred: number): Promise<number> {
  const tryPort = (port: number) =>
    new Promise<number | null>((found) => {
      const server = createServer();
      server.once('error', () => found(null));
      server.listen({ port, host: '127.0.0.1' }, () => {
        const address = server.address();
        server.close(() => found(typeof address === 'object' && address !== null ? address.port : null));
      });
    });
  const port = (await tryPort(preferred)) ?? (await tryPort(0));
  if (port === null)
    throw new TollwayError('embedded_postgres', 'Expected a free port for the embedded PostgreSQL, got none');
  return port;
}

async function findBinaries(): Promise<{ pgCtl: string; postgres: string }> {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`;
  try {
    const { pg_ctl, postgres } = (await import(name)) as { pg_ctl: string; postgres: string };
    return { pgCtl: pg_ctl, postgres };
  } catch (cause) {
    const message = `Expected an embedded PostgreSQL for ${platform} on ${arch} (${name}), got none: set DATABASE_URL to a database of yours`;
    throw new TollwayError('embedded_postgres', message, { cause });
  }
}

/** The major version of the server's program, such as `18`. */
async function readMajor(postgres: string): Promise<string> {
  const { stdout } = await run(postgres, ['--version'], owner());
  // Such as `postgres (PostgreSQL) 18.4`; of a beta version `18beta1`.
  return /\) (\d+)/.exec(stdout)?.[1] ?? stdout.trim();
}

/** Options of the server's processes: a small environment, and the user `postgres` if this user is root, as which PostgreSQL refuses to run. */
function owner(): { uid?: number; gid?: number; env: NodeJS.ProcessEnv } {
  const env = serverEnvironment();
  if (process.getuid?.() !== 0) return { env };
  const entry = readFileSync('/etc/passwd', 'utf8').match(/^postgres:[^:]*:(\d+):(\d+):/m);
  return entry ? { uid: Number(entry[1]), gid: Number(entry[2]), env } : { env };
}

/** If root starts it, the server runs as another user, who must be able to enter its folder. Throws `embedded_postgres`. */
function assertReachable(folder: string): void {
  if (process.getuid?.() !== 0) return;
  for (let parent = dirname(folder); ; parent = dirname(parent)) {
    if (existsSync(parent) && (statSync(parent).mode & 0o001) === 0) {
      const message =
        `DATA_DIR: expected a folder whose parents every user can enter, got one below ${parent}: ` +
        'started by root, PostgreSQL runs as the user postgres. Use another folder or start as another user';
      throw new TollwayError('embedded_postgres', message);
    }
    if (parent === dirname(parent)) return;
  }
}

function lastLines(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(-6).join('\n').trim();
  } catch {
    return '';
  }
}

/** Creates the data folder. Throws `bad_data_dir`. */
export function makeDataDir(dataDir: string): void {
  try {
    createFolder(dataDir);
    const probe = join(dataDir, `.write-${process.pid}`);
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (cause) {
    throw new TollwayError(
      'bad_data_dir',
      `DATA_DIR: expected a folder that can be written, got ${dataDir} (${errorMessage(cause)})`,
      {
        cause,
      },
    );
  }
}
