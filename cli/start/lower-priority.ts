import { constants, setPriority } from 'node:os';
import type { Logger } from '../../common/telemetry/logger.ts';

/**
 * Lets the ad server go first on a machine that does everything: what is charged may wait, redirects may not. A process that
 * begins just now hands it on to its threads and children. Where the system refuses, all are alike.
 */
export function lowerPriority(pid: number | undefined, logger: Logger): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch (error) {
    logger.debug({ err: error, pid }, 'The priority of a process could not be lowered');
  }
}
