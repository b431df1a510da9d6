import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { ROOT } from '../../load-tests/bench/checkout.ts';
import { isSkipped } from '../support/skipped.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { gitMissing } from './git-missing.ts';

const folder = suiteFolder();
/**
 * Loads proper-lockfile after the program has its signal handlers, as the client of Docker does. Its own handler kills a process whose other
 * handlers are gone.
 */
const LIBRARY = pathToFileURL(join(ROOT, 'node_modules/proper-lockfile/index.js')).href;
const LOAD_LATER = `data:text/javascript,const timer = setInterval(() => {
  if (process.listenerCount('SIGINT') > 0) import('${LIBRARY}').then(() => clearInterval(timer)); }, 10)`;

it.skipIf(isSkipped(gitMissing)).each(['SIGINT', 'SIGTERM'] as const)(
  'a benchmark against a commit leaves no file after %s',
  async (signal) => {
    const temporary = mkdtempSync(join(folder, 'tmp-'));
    const args = ['load-tests/bench/main.ts', '--only', 'redirect', '--against', 'HEAD'];
    const bench = spawn(process.execPath, ['--import', LOAD_LATER, ...args], {
      cwd: ROOT,
      env: { ...process.env, TMPDIR: temporary },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    await new Promise<void>((begun) =>
      bench.stderr.on('data', (text) => String(text).includes('pair 1') && begun()),
    );
    expect(readdirSync(temporary).length).toBeGreaterThan(0);
    bench.kill(signal);
    expect(await once(bench, 'exit')).toEqual([130, null]);
    expect(readdirSync(temporary)).toEqual([]);
  },
  60_000,
);
