import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errorCode, TollwayError } from '../../common/errors.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import type { ResourceScope } from './resource-scope.ts';

const run = promisify(execFile);
/** The checkout that this code belongs to. */
export const ROOT = join(import.meta.dirname, '../..');
/** Largest output of git, in bytes: an archive of the repository. */
const OUTPUT_BYTES_MAX = 1_000_000_000;
const LOCK_FILE = 'package-lock.json';
/** The folder of this checkout's benchmarks in the other checkout, beside its own, so that relative imports resolve there. */
const BENCH_FOLDER = 'load-tests/bench-of-now';

/** Another commit of this repository, in a temporary folder with its dependencies. */
export type Checkout = {
  readonly root: string;
  /** The abbreviated id of the commit. */
  readonly name: string;
  /** The program of the benchmarks of this checkout, with the code of the other one. */
  readonly ourBench: string;
  /** The program of the benchmarks of that commit. */
  readonly ownBench: string;
};

/**
 * Writes the files of a commit to a temporary folder, and installs its dependencies: those of this checkout if the lock files are equal,
 * otherwise by `npm ci`. `git archive` leaves nothing in the repository that a killed process would have to remove. Throws `bad_revision`.
 */
export async function checkOut(
  revision: string,
  { resources, progress }: { readonly resources: ResourceScope; readonly progress: ProgressDisplay },
): Promise<Checkout> {
  const commit = await resolveCommit(revision);
  const name = commit.slice(0, 7);
  progress.say(`Checking out ${name}`);
  const root = resources.folder();
  const archive = join(root, 'archive.tar');
  await run('git', ['-C', ROOT, 'archive', '--output', archive, commit], { maxBuffer: OUTPUT_BYTES_MAX });
  await run('tar', ['-x', '-f', archive, '-C', root]);
  cpSync(import.meta.dirname, join(root, BENCH_FOLDER), { recursive: true });
  const lockOf = (folder: string) => readFileSync(join(folder, LOCK_FILE), 'utf8');
  if (lockOf(root) === lockOf(ROOT))
    symlinkSync(realpathSync(join(ROOT, 'node_modules')), join(root, 'node_modules'));
  else {
    progress.say(`Installing the dependencies of ${name}`);
    await install(root, resources);
  }
  return {
    root,
    name,
    ourBench: join(root, BENCH_FOLDER, 'main.ts'),
    ownBench: join(root, 'load-tests/bench/main.ts'),
  };
}

/** Installs the dependencies of a checkout, as a child process that ends with this one. */
async function install(root: string, resources: ResourceScope): Promise<void> {
  const child = resources.child(['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0)
    throw new Error(`Expected npm ci to install the dependencies in ${root}, got exit code ${code}`);
}

/** The id of a commit. Throws `bad_revision`. */
async function resolveCommit(revision: string): Promise<string> {
  const args = ['-C', ROOT, 'rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`];
  try {
    return (await run('git', args)).stdout.trim();
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT')
      throw new TollwayError('bad_revision', '--against: expected git, found none', { cause });
    const message = `--against: expected a commit of this repository, got "${revision}"`;
    throw new TollwayError('bad_revision', message, { cause });
  }
}
