import { readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { errorCode } from '../../common/errors.ts';
import type { Logger } from '../../common/telemetry/logger.ts';

/** Of 19. Where it competes with a process of normal priority, a process gets a quarter of the CPU time: charges must not fall far behind. */
const NICE = 5;
/** Time between two looks for new sessions, in ms, and after a look in which Linux refused a change: users other than root make ten a second. */
const LOOK_MS = 1_000;
const RETRY_MS = 110;

/**
 * Lowers the priority of a process, so that the ad server gets the CPU first where all parts share a machine: charges can wait, redirects
 * cannot. Threads and children that the process starts later inherit the priority. If the system refuses, all parts keep the same priority.
 */
export function lowerPriority(pid: number | undefined, logger: Logger): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, NICE);
  } catch (error) {
    logger.debug({ err: error, pid }, 'The priority of a process could not be lowered');
  }
}

/**
 * Lowers the priority of the session of a process and of those of its children, until the process ends. Linux compares the priorities of
 * processes only within a session, and shares the CPU evenly between sessions (autogroups, sched(7)), unless a service manager or a
 * container engine has put the processes into control groups. The process must have a session of its own; each child of PostgreSQL has one.
 */
export function keepSessionsLow(pid: number | undefined, logger: Logger): void {
  if (pid === undefined) return;
  const look = () => {
    try {
      const results = [pid, ...childrenOf(pid)].map(lowerSession);
      if (results[0] === 'gone') return;
      setTimeout(look, results.includes('later') ? RETRY_MS : LOOK_MS).unref();
    } catch (error) {
      logger.debug({ err: error, pid }, 'The priority of a session could not be lowered');
    }
  };
  setTimeout(look, RETRY_MS).unref();
}

/** `gone`: the process has ended, or the system has no autogroups. */
function lowerSession(pid: number): 'low' | 'later' | 'gone' {
  const path = `/proc/${pid}/autogroup`;
  try {
    if (!readFileSync(path, 'utf8').endsWith(` nice ${NICE}\n`)) writeFileSync(path, String(NICE));
    return 'low';
  } catch (error) {
    const code = errorCode(error);
    if (code === 'EAGAIN') return 'later';
    if (code === 'ENOENT' || code === 'ESRCH') return 'gone';
    throw error;
  }
}

function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return children.split(' ').filter(Boolean).map(Number);
  } catch {
    // The process has ended, or the kernel does not list children.
    return [];
  }
}
