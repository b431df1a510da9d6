import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { isAlive, stackEnv } from '../support/stack.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const RUN_SCRIPT = JSON.stringify(join(import.meta.dirname, '..', 'support', 'run-script.ts'));
const CHILD = JSON.stringify(join(import.meta.dirname, '..', 'support', 'children', 'append-for-ever.ts'));

it.each([
  ['a part that runScript starts', `runScript('processor/main.ts', process.env)`],
  [
    'a child of a test',
    `(await import('node:child_process')).spawn(process.execPath, [${CHILD}, process.env.DATA_DIR],
       { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })`,
  ],
])('%s ends when the runner of its test is killed', async (_, start) => {
  const env = { ...(await stackEnv(temporaryFolder())), DATABASE_URL: inject('databaseServerUrl') };
  const script = `const { runScript } = await import(${RUN_SCRIPT}); console.log(${start}.pid); setInterval(() => {}, 1_000);`;
  const runner = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  const [printed] = (await once(runner.stdout.setEncoding('utf8'), 'data')) as [string];
  const pid = Number(printed);
  expect(isAlive(pid)).toBe(true);
  runner.kill('SIGKILL');
  await until('the end of the child', () => !isAlive(pid), 10_000);
});
