import { readFileSync } from 'node:fs';

/** A part that `npm start` runs as a process of its own. */
export type Part = 'ad-server' | 'processor' | 'console';

/** The process id of a part, a child of `npm start`. Linux only. Throws if none is running. */
export function findPart(supervisor: number, part: Part): number {
  const found = childrenOf(supervisor).find((pid) => commandOf(pid).includes(`${part}/main.ts`));
  if (found === undefined) throw new Error(`no ${part} is running`);
  return found;
}

/** The children of a process, without theirs. Linux only. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    // The process has ended.
    return '';
  }
}
