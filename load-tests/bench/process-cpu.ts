import { readdirSync, readFileSync } from 'node:fs';

/** CPU time of one tick in /proc, in µs: 100 ticks a second on every Linux. */
const TICK_MICROS = 10_000;

/** A process of /proc. CPU times in µs; `endedMicros` is that of the children that have ended and were waited for. */
export type ProcessStat = {
  readonly parent: number;
  readonly micros: number;
  readonly endedMicros: number;
};

/** The processes of this machine by process id. */
export type ProcessTable = ReadonlyMap<number, ProcessStat>;

/** Reads all processes of this machine. Linux only: empty where there is no /proc. */
export function readProcesses(): ProcessTable {
  const pids = listNumbers('/proc');
  return new Map(
    pids.flatMap((pid) => {
      const stat = statOf(pid);
      return stat ? [[pid, stat]] : [];
    }),
  );
}

/**
 * CPU time of a process, of its descendants, and of those of them that have ended, in µs; NaN if the process does not run. A descendant that
 * ended counts from the moment on at which its parent has waited for it.
 */
export function treeMicros(processes: ProcessTable, root: number): number {
  const stat = processes.get(root);
  if (stat === undefined) return Number.NaN;
  const children = [...processes].filter(([, { parent }]) => parent === root);
  const ofChildren = children.reduce((sum, [pid]) => sum + treeMicros(processes, pid), 0);
  return stat.micros + stat.endedMicros + ofChildren;
}

/** The process id of the first descendant whose command line contains `part`, such as an entry file; `null` if there is none. */
export function findDescendant(processes: ProcessTable, root: number, part: string): number | null {
  for (const [pid, { parent }] of processes) {
    if (parent !== root) continue;
    if (commandLineOf(pid).includes(part)) return pid;
    const found = findDescendant(processes, pid, part);
    if (found !== null) return found;
  }
  return null;
}

/** CPU time of one process so far, in µs; NaN if it does not run, or where there is no /proc. */
export function processMicros(pid: number): number {
  return statOf(pid)?.micros ?? Number.NaN;
}

/** The fields of /proc/<pid>/stat; https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
export function statOf(pid: number): ProcessStat | undefined {
  try {
    // The command name, in parentheses, can contain any character. The state follows it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
      .map(Number);
    const [, parent = 0] = fields;
    const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15);
    return {
      parent,
      micros: (user + system) * TICK_MICROS,
      endedMicros: (endedUser + endedSystem) * TICK_MICROS,
    };
  } catch {
    return undefined;
  }
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

function listNumbers(folder: string): number[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}
