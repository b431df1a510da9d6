import { readdirSync, readFileSync } from 'node:fs';

const SAMPLE_MS = 500;

/** Follows the resident memory of a process's children, by a part of their command line. Linux only. */
export function watchMemory(parent: number, names: readonly string[]) {
  const mostBytes = new Map<string, number>();
  const sample = () => {
    for (const pid of childrenOf(parent)) {
      const commandLine = read(`/proc/${pid}/cmdline`);
      const name = names.find((part) => commandLine.includes(part));
      const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1];
      if (name !== undefined && kilobytes !== undefined)
        mostBytes.set(name, Math.max(mostBytes.get(name) ?? 0, Number(kilobytes) * 1_024));
    }
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    /** The most that was seen, in bytes, by name; a process that could not be found is absent. */
    stop: (): ReadonlyMap<string, number> => {
      sample();
      clearInterval(timer);
      return mostBytes;
    },
  };
}

function childrenOf(parent: number): string[] {
  const all = list('/proc').filter((name) => /^\d+$/.test(name));
  // The command's name, in parentheses, may hold anything; the parent is the second field behind it.
  return all.filter(
    (pid) => / \S+ (\d+) /.exec(read(`/proc/${pid}/stat`).replace(/^.*\)/, ''))?.[1] === String(parent),
  );
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A process may end between two looks: then there is nothing. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
