/**
 * Runs vitest against a PostgreSQL that is installed on this machine, in a new cluster that is removed afterwards:
 *
 *     node test/support/installed-postgres.ts /usr/lib/postgresql/15/bin test/ledger
 *
 * The first argument is the folder of `initdb` and `pg_ctl`; the others go to `vitest run`. The exit code is vitest's.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { postgresUser } from './postgres-user.ts';

/**
 * Test data need not survive a crash, so nothing is flushed to disk. As in the embedded server, plans are not compiled: each is executed
 * once, and its compilation takes longer.
 */
const SETTINGS = [
  'fsync=off',
  'full_page_writes=off',
  'synchronous_commit=off',
  'max_connections=200',
  'jit=off',
];

const [bin = '', ...vitestArguments] = process.argv.slice(2);
if (!existsSync(join(bin, 'initdb'))) {
  process.stderr.write(
    `Expected a folder with initdb and pg_ctl, such as /usr/lib/postgresql/15/bin, got "${bin}"\n`,
  );
  process.exit(2);
}
const user = postgresUser();
const folder = mkdtempSync(join(tmpdir(), 'tollway-postgres-'));
if (user) chownSync(folder, user.uid, user.gid);
const data = join(folder, 'data');
const run = (program: string, args: readonly string[]) =>
  execFileSync(join(bin, program), args, { ...user, cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });

let exitCode = 1;
try {
  run('initdb', ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync']);
  const [port] = await freePorts(1);
  const options = [...SETTINGS, `port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories='];
  run('pg_ctl', [
    'start',
    '-w',
    '-s',
    '-D',
    data,
    '-l',
    join(folder, 'log'),
    '-o',
    options.map((o) => `-c ${o}`).join(' '),
  ]);
  try {
    const { status } = spawnSync('npx', ['vitest', 'run', ...vitestArguments], {
      stdio: 'inherit',
      env: { ...process.env, TEST_DATABASE_URL: `postgres://postgres@127.0.0.1:${port}/postgres` },
    });
    exitCode = status ?? 1;
  } finally {
    run('pg_ctl', ['stop', '-w', '-s', '-D', data, '-m', 'immediate']);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = exitCode;
