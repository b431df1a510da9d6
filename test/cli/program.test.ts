import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadProgram } from '../../cli/program.ts';
import { COMPILE_CACHE } from '../../common/compile-cache.ts';
import { ROOT } from '../support/imports.ts';

const all = (await loadProgram([])).commands.map((command) => command.name());
const hook = join(ROOT, 'test/support/children/print-packages.ts');

/** Runs `tollway` with variables of the environment, and the packages that it loads on standard error. */
function run(env: NodeJS.ProcessEnv, ...args: string[]) {
  const { PATH } = process.env;
  const command = ['--import', hook, join(ROOT, 'cli/main.ts'), ...args];
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
