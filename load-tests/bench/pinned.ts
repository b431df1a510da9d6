import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Whether processes can be kept on one core each, so that what is measured is a core and not a machine. */
export const canPin = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;

/** The command that runs a script of this project with our Node, on one core where that is possible. */
export function pinned(core: number, script: string): string[] {
  return pinnedCommand(core, [process.execPath, script]);
}

/** The same for any command. */
export function pinnedCommand(core: number, command: readonly string[]): string[] {
  return canPin ? ['taskset', '-c', String(core), ...command] : [...command];
}
