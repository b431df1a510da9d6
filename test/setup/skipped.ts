const told = new Set<string>();

/**
 * Whether a suite that needs what `line` says is missing is left out; says so, once. In CI it is not: there its start fails
 * with that same line.
 */
export function isSkipped(line: string | null): boolean {
  if (line === null || process.env.CI) return false;
  if (!told.has(line)) process.stderr.write(`Skipped: ${line}\n`);
  told.add(line);
  return true;
}
