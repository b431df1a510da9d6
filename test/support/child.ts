import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from './temporary-folder.ts';
import { until } from './until.ts';

function pathOf(name: string): string {
  return join(import.meta.dirname, 'children', `${name}.ts`);
}

/** Forks a script of `children/` that talks over a channel; it is killed when the test has ended. */
export function forkChild(name: string, args: readonly string[], execArgv: string[] = []): ChildProcess {
  const child = fork(pathOf(name), args, { execArgv });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

/** The next message of a child process. Throws if the process ends instead. */
export async function nextMessage<T>(child: ChildProcess): Promise<T> {
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`Expected a message, but the child ended with ${code}`);
  });
  const [message] = (await Promise.race([once(child, 'message'), ended])) as [T];
  return message;
}

/** A child that prints lines, until it is killed. */
export type Printer = { readonly lines: () => string[]; readonly kill: () => Promise<void> };

/** Starts a script of `children/` that prints into a file, so that no reader slows it down. Only whole lines count. */
export async function startPrinter(
  name: string,
  args: readonly string[],
  linesMin: number,
): Promise<Printer> {
  const path = join(temporaryFolder(), 'printed');
  const output = openSync(path, 'w');
  const child = spawn(process.execPath, [pathOf(name), ...args], {
    stdio: ['ignore', output, 'inherit', 'ipc'],
  });
  closeSync(output);
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines = () => readFileSync(path, 'latin1').split('\n').slice(0, -1);
  await until(`${linesMin} lines of ${name}`, () => lines().length >= linesMin);
  return {
    lines,
    kill: async () => {
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    },
  };
}
