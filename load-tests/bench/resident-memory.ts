import { readdirSync, readFileSync } from 'node:fs';

const SAMPLE_MS = 500;

/** Samples the resident memory of child processes, which are identified by a part of their command line. Linux only. */
export function watchMemory(parent: number, names: readonly string[]) {
  const maxBytes = new Map<string, number>();
  const sample = () => {
    for (const pid of childrenOf(parent)) {
      const commandLine = read(`/proc/${pid}/cmdline`);
      const name = names.find((part) => commandLine.includes(part));
      const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1];
      if (name !== undefined && kilobytes !== undefined)
        maxBytes.set(name, Math.max(maxBytes.get(name) ?? 0, Number(kilobytes) * 1_024));
    }
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    /** Stops and returns the highest value by name, in bytes. Processes that were not found are absent. */
    stop: (): ReadonlyMap<string, number> => {
      sample();
      clearInterval(timer);
      return maxBytes;
    },
  };
}

function childrenOf(parent: number): string[] {
  const all = list('/proc').filter((name) => /^\d+$/.test(name));
  // The command name, in parentheses, can contain any character. The parent is the second field after it.
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

/** The content of a file, or an empty text if its process has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
