import { printTable } from '../../cli/print.ts';
import type { DrillResult } from './run-drill.ts';

/** Prints a line for each alert. */
export function printDrill(results: readonly DrillResult[]): void {
  const seconds = (value: number | null) => (value === null ? '' : `${value.toFixed(1)} s`);
  printTable(
    results.map(({ alert, cause, firedAfter, endedAfter, problem }) => ({
      alert,
      cause,
      'fires after': seconds(firedAfter),
      'ends after': seconds(endedAfter),
      result: problem ?? 'ok',
    })),
    'No alert was caused.',
  );
}
