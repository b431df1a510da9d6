import { CommanderError } from 'commander';
import pLimit from 'p-limit';
import { vi } from 'vitest';
import { run } from '../../cli/run.ts';
import type { CliResult } from './run-script.ts';

const oneAtATime = pLimit(1);

/**
 * Runs `tollway …` in this process with these settings, which takes a fraction of the CPU time of a process of its own. Calls run one after
 * the other, because a command reads the environment and writes to the standard output of the process. A command that leaves a connection
 * open ends here, but not as a process, so other tests, most of them in `test/system`, run each command as a process.
 */
export function tollwayHere(env: NodeJS.ProcessEnv, ...args: string[]): Promise<CliResult> {
  return oneAtATime(runHere, env, args);
}

async function runHere(env: NodeJS.ProcessEnv, args: readonly string[]): Promise<CliResult> {
  const printed = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      printed[name] += typeof text === 'string' ? text : Buffer.from(text).toString();
      return true;
    }),
  );
  // Commander ends the process after `--help` and after a usage error.
  let exited: number | undefined;
  const exit = vi.spyOn(process, 'exit').mockImplementation((code) => {
    exited ??= Number(code ?? 0);
    throw new CommanderError(exited, 'exit', 'The command ends the process');
  });
  const { env: own, exitCode } = process;
  const listeners = process.stdout.listeners('error');
  process.env = { ...env };
  process.exitCode = undefined;
  try {
    await run(args);
    return { code: exited ?? Number(process.exitCode ?? 0), ...printed };
  } finally {
    process.env = own;
    process.exitCode = exitCode;
    for (const added of process.stdout.listeners('error').filter((one) => !listeners.includes(one)))
      process.stdout.removeListener('error', added as () => void);
    for (const spy of [...spies, exit]) spy.mockRestore();
  }
}
