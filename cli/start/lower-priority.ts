import { constants, setPriority } from 'node:os';
import type { Logger } from '../../common/telemetry/logger.ts';

/**
 * Lowers the priority of a process, so that the ad server gets the CPU first where all parts share a machine: charges can wait, redirects
 * cannot. Threads and children that the process starts later inherit the priority. If the system refuses, all parts keep the same priority.
 */
export function lowerPriority(pid: number | undefined, logger: Logger): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch (error) {
    logger.debug({ err: error, pid }, 'The priority of a process could not be lowered');
  }
}
