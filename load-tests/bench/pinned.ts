import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Whether processes can be pinned to a core each, so that the benchmark measures one core. */
export const canPin = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;

/** The command that runs a script with this Node, pinned to one core if possible. */
export function pinned(core: number, script: string): string[] {
  return pinnedCommand(core, [process.execPath, script]);
}

/** The command, pinned to one core if possible. */
export function pinnedCommand(core: number, command: readonly string[]): string[] {
  return canPin ? ['taskset', '-c', String(core), ...command] : [...command];
}
