import { appendFileSync } from 'node:fs';
import { inject } from 'vitest';

const reported = new Set<string>();

/**
 * Whether to skip a suite. `line` states what is missing and how to install it; `null` if nothing is missing. Each line is printed once at
 * the end of the run. In CI it returns false: the suite starts and fails with that line.
 */
export function isSkipped(line: string | null): boolean {
  return !process.env.CI && isSkippedInCiToo(line);
}

/** Like `isSkipped`, for a program or a permission that CI can lack: the suite is skipped in CI too. */
export function isSkippedInCiToo(line: string | null): boolean {
  if (line === null) return false;
  if (!reported.has(line)) appendFileSync(inject('skippedPath'), `${line}\n`);
  reported.add(line);
  return true;
}
