import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDataDir, startEmbeddedPostgres } from '../../cli/start/embedded-postgres.ts';
import { migrate } from '../../migrations/migrate.ts';
import { silent } from './loggers.ts';
import { RETENTION } from './retention.ts';
import { descendants } from './stack.ts';

/** A migrated PostgreSQL of one suite, which can be frozen without stopping other suites. */
export type OwnPostgres = {
  readonly url: string;
  /** Stops all its processes by SIGSTOP. */
  readonly freeze: () => void;
  /** Continues all its processes. */
  readonly thaw: () => void;
  readonly stop: () => Promise<void>;
};

/** Starts a PostgreSQL with its data in `folder`. */
export async function startOwnPostgres(folder: string): Promise<OwnPostgres> {
  makeDataDir(folder);
  const { url, stop } = await startEmbeddedPostgres(folder, silent);
  await migrate(url, RETENTION, silent);
  const postmaster = Number(
    readFileSync(join(folder, 'postgres', 'postmaster.pid'), 'utf8').split('\n', 1)[0],
  );
  let frozen: readonly number[] = [];
  const thaw = () => {
    for (const pid of frozen) process.kill(pid, 'SIGCONT');
    frozen = [];
  };
  return {
    url,
    freeze: () => {
      // First the postmaster, so that it makes no more processes.
      process.kill(postmaster, 'SIGSTOP');
      frozen = descendants(postmaster);
      for (const pid of frozen) process.kill(pid, 'SIGSTOP');
    },
    thaw,
    stop: async () => {
      thaw();
      await stop();
    },
  };
}
