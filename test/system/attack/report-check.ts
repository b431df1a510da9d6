let failures = 0;

/** Prints one line for a check; `found` is what was seen. A check that fails makes the process end with exit code 1. */
export function check(what: string, holds: boolean, found: unknown): void {
  if (!holds) failures += 1;
  process.exitCode = failures > 0 ? 1 : 0;
  process.stdout.write(`${holds ? 'ok  ' : 'FAIL'} ${what}: ${found}\n`);
}
