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

/** A separate PostgreSQL server that tests back up, lose and restore as an operator would. */
export type PostgresCluster = {
  /** Holds `data`, `wal` and `base`. */
  readonly folder: string;
  readonly url: (database: string) => string;
  /** Runs a program of PostgreSQL as the user of the server. */
  readonly run: (program: string, ...args: string[]) => Promise<void>;
  readonly start: () => Promise<void>;
  /** Stops the server immediately, as a crash does. */
  readonly kill: () => Promise<void>;
  readonly configure: (text: string) => void;
  readonly remove: () => Promise<void>;
};

/** Creates a cluster without starting it. */
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
  // Test data need not survive a crash, so nothing is flushed to disk.
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
