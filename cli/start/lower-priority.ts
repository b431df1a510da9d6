import { readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { errorCode } from '../../common/errors.ts';
import type { Logger } from '../../common/telemetry/logger.ts';

/**
 * Of 19, for each priority. Where it competes with a process of normal priority, a process of a low one gets a quarter of the CPU time: charges
 * must not fall far behind. One of the lowest gets a tenth: answers to programs and people can wait longer than charges.
 */
const NICE = { normal: 0, low: 5, lowest: 10 } as const;
export type Priority = keyof typeof NICE;
/** Time between two looks for new sessions, in ms, and after a look in which Linux refused a change: users other than root make ten a second. */
const LOOK_MS = 1_000;
const RETRY_MS = 110;

/**
 * Lowers the priority of a process, so that the ad server gets the CPU first where all parts share a machine: charges can wait, redirects
 * cannot. Threads and children that the process starts later inherit the priority. If the system refuses, all parts keep the same priority.
 */
export function lowerPriority(pid: number | undefined, priority: Priority, logger: Logger): void {
  if (pid === undefined || priority === 'normal') return;
  try {
    setPriority(pid, NICE[priority]);
  } catch (error) {
    logger.debug({ err: error, pid }, 'The priority of a process could not be lowered');
  }
}

/**
 * Lowers the priority of the session of a process and of those of its children, until the process ends. Linux compares the priorities of
 * processes only within a session, and shares the CPU evenly between sessions (autogroups, sched(7)), unless a service manager or a
 * container engine has put the processes into control groups. The process must have a session of its own; each child of PostgreSQL has one.
 */
export function keepSessionsLow(pid: number | undefined, priority: Priority, logger: Logger): void {
  if (pid === undefined || priority === 'normal') return;
  const look = () => {
    try {
      const results = [pid, ...childrenOf(pid)].map((member) => lowerSession(member, NICE[priority]));
      if (results[0] === 'gone') return;
      setTimeout(look, results.includes('later') ? RETRY_MS : LOOK_MS).unref();
    } catch (error) {
      logger.debug({ err: error, pid }, 'The priority of a session could not be lowered');
    }
  };
  setTimeout(look, RETRY_MS).unref();
}

/** `gone`: the process has ended, or the system has no autogroups. */
function lowerSession(pid: number, nice: number): 'low' | 'later' | 'gone' {
  const path = `/proc/${pid}/autogroup`;
  try {
    if (!readFileSync(path, 'utf8').endsWith(` nice ${nice}\n`)) writeFileSync(path, String(nice));
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
