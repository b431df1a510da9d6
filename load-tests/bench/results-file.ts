import { writeFileSync } from 'node:fs';
import type { Comparison } from './baseline.ts';
import { type BenchResult, round } from './result.ts';

/** Writes the rows as JSON, without notes, and with the comparison of each row if there are comparisons. */
export function writeResults(
  path: string,
  results: readonly BenchResult[],
  comparisons: readonly Comparison[] | null,
): void {
  const rows = results.map(({ notes: _, ...row }) => {
    const comparison = comparisons?.find(({ name }) => name === row.name);
    if (!comparison) return row;
    const { verdict, baseline, tolerance } = comparison;
    return { ...row, baseline, tolerance: round(tolerance), verdict };
  });
  writeFileSync(path, `${JSON.stringify(rows, null, 2)}\n`);
}
