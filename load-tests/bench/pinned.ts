import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Whether processes can be kept on one core each, so that what is measured is a core and not a machine. */
export const canPin = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;

/** The command that runs a script of this project with our Node, on one core where that is possible. */
export function pinned(core: number, script: string): string[] {
  const node = [process.execPath, script];
  return canPin ? ['taskset', '-c', String(core), ...node] : node;
}
