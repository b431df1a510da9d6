import { appendFileSync } from 'node:fs';
import { inject } from 'vitest';

const reported = new Set<string>();

/**
 * Whether to skip a suite. `line` says what is missing and how to get it; `null` if nothing is. Each line is printed once at the end of the
 * run. In CI nothing is skipped: the suite starts and fails with that line.
 */
export function isSkipped(line: string | null): boolean {
  return !process.env.CI && isLeftOut(line);
}

/** The same for a program or a right that CI can lack, too. */
export function isLeftOut(line: string | null): boolean {
  if (line === null) return false;
  if (!reported.has(line)) appendFileSync(inject('skippedPath'), `${line}\n`);
  reported.add(line);
  return true;
}
