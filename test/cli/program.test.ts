import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadProgram } from '../../cli/program.ts';
import { COMPILE_CACHE } from '../../common/compile-cache.js';
import { ROOT } from '../support/imports.ts';

const all = (await loadProgram([])).commands.map((command) => command.name());
const hook = join(ROOT, 'test/support/children/print-packages.ts');

/** Runs `tollway` with variables of the environment, and the packages that it loads on standard error. */
function run(env: NodeJS.ProcessEnv, ...args: string[]) {
  const { PATH } = process.env;
  const command = ['--import', hook, join(ROOT, 'cli/main.js'), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    env: { PATH, ...env },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe('the program', () => {
  it.each(all)('has the command %s alone if it is the first argument', async (name) => {
    expect((await loadProgram([name, 'list'])).commands.map((command) => command.name())).toEqual([name]);
  });

  it.each([['help', 'link'], ['--help'], ['--version'], ['lnk'], ['constructor']])(
    'has all commands for %s',
    async (...args) => {
      expect((await loadProgram(args)).commands).toHaveLength(all.length);
    },
  );

  it('suggests a command for one with a typing error', () => {
    const { status, stderr } = run({}, 'advertser', 'list');
    expect(status).toBe(1);
    expect(stderr).toContain('(Did you mean advertiser?)');
  });

  it('loads no client of a broker or a store for all commands together, and no metrics for one that has none', () => {
    const { status, stdout, stderr } = run({}, '--help');
    const packages = JSON.parse(stderr) as string[];
    expect(status).toBe(0);
    for (const name of all) expect(stdout).toContain(`  ${name} `);
    expect(packages).toContain('commander');
    expect(packages.filter((one) => /kafkajs|aws|smithy|undici|pretty|parquet/.test(one))).toEqual([]);
    const alone = run({}, 'advertiser', '--help');
    expect(JSON.parse(alone.stderr)).not.toContain('prom-client');
  });

  it('keeps compiled code, and works without the right to write its folder', () => {
    expect(run({ NODE_COMPILE_CACHE: '' }, 'link', '--help').status).toBe(0);
    expect(readdirSync(COMPILE_CACHE, { recursive: true }).length).toBeGreaterThan(50);
    const file = join(ROOT, 'package.json');
    expect(run({ NODE_COMPILE_CACHE: join(file, 'folder') }, 'link', '--help').status).toBe(0);
  });
});

it('loads no compiler of TypeScript once its compiled code is kept', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tollway-compiled-'));
  const print = `process.on('exit', () => console.error(process.moduleLoadList.join('\\n')))`;
  const builtins = () => {
    const command = [`--import=data:text/javascript,${print}`, join(ROOT, 'cli/main.js'), 'link', '--help'];
    const { PATH } = process.env;
    return spawnSync(process.execPath, command, {
      env: { PATH, NODE_COMPILE_CACHE: folder },
      encoding: 'utf8',
    }).stderr;
  };
  expect(builtins()).toContain('internal/deps/amaro');
  const again = builtins();
  expect(again).toContain('internal/modules/esm');
  expect(again).not.toContain('internal/deps/amaro');
  rmSync(folder, { recursive: true });
});

it('is a program in node_modules/.bin, which npx runs without reading the tree of packages', () => {
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { bin?: unknown };
  // With a `bin` of its own package, npx reads all packages and a cache: a second of CPU time.
  expect(bin).toBeUndefined();
  expect(realpathSync(join(ROOT, 'node_modules/.bin/tollway'))).toBe(join(ROOT, 'cli/main.js'));
});
