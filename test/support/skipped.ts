import { appendFileSync } from 'node:fs';
import { inject } from 'vitest';

const reported = new Set<string>();

/**
 * Whether to skip a suite for the reason that `line` gives, `null` being none: what is missing, and how to get it. The end of the run
 * prints each reason once. In CI nothing is skipped: there the suite starts and fails with that same line.
 */
export function isSkipped(line: string | null): boolean {
  return !process.env.CI && isLeftOut(line);
}

/** The same for what CI may lack too: a program that no package of its machine brings, or a right that its user does not have. */
export function isLeftOut(line: string | null): boolean {
  if (line === null) return false;
  if (!reported.has(line)) appendFileSync(inject('skippedPath'), `${line}\n`);
  reported.add(line);
  return true;
}
