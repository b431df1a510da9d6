import { execFile } from 'node:child_process';
import { appendFileSync, chownSync, globSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { postgresUser } from './postgres-user.ts';

const execute = promisify(execFile);

/** The programs of the newest PostgreSQL that a Debian package has installed, `pg_basebackup` among them; undefined without one. */
export function installedPostgres(): string | undefined {
  const version = (folder: string) => Number(/(\d+)\/bin$/.exec(folder)?.[1]);
  return globSync('/usr/lib/postgresql/*/bin')
    .filter((folder) => version(folder) >= 15 && globSync(join(folder, 'pg_basebackup')).length > 0)
    .sort((a, b) => version(a) - version(b))
    .at(-1);
}

/** A PostgreSQL server of its own that is backed up, lost and restored as an operator does it. */
export type PostgresCluster = {
  /** Holds `data`, `wal` and `base`. */
  readonly folder: string;
  readonly url: (database: string) => string;
  /** Runs a program of PostgreSQL as the user of the server. */
  readonly run: (program: string, ...args: string[]) => Promise<void>;
  readonly start: () => Promise<void>;
  /** Ends the server at once, as a crash does. */
  readonly kill: () => Promise<void>;
  readonly configure: (text: string) => void;
  readonly remove: () => Promise<void>;
};

/** Makes a cluster, without starting it. */
export async function createCluster(bin: string): Promise<PostgresCluster> {
  const user = postgresUser();
  const folder = mkdtempSync(join(tmpdir(), 'tollway-cluster-'));
  const wal = join(folder, 'wal');
  mkdirSync(wal);
  for (const path of user ? [folder, wal] : []) chownSync(path, user?.uid ?? 0, user?.gid ?? 0);
  const [port = 0] = await freePorts(1);
  const data = join(folder, 'data');
  const run: PostgresCluster['run'] = async (program, ...args) => {
    await execute(join(bin, program), args, { ...user, cwd: folder });
  };
  const configure = (text: string) => appendFileSync(join(data, 'postgresql.conf'), text);
  const stop = () => run('pg_ctl', 'stop', '-w', '-s', '-D', data, '-m', 'immediate');
  await run('initdb', '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync');
  // The data of a test dies with it: a flush to disk protects nothing.
  configure(`port = ${port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n`);
  return {
    folder,
    url: (database) => `postgres://postgres@127.0.0.1:${port}/${database}`,
    run,
    // pg_ctl waits until the server takes connections; while it recovers, those that read.
    start: () => run('pg_ctl', 'start', '-w', '-s', '-D', data, '-l', join(folder, 'log')),
    kill: stop,
    configure,
    remove: async () => {
      await stop().catch(() => {});
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
