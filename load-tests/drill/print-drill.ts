import { printNote, printTable } from '../../cli/print.ts';
import type { DrillResult } from './run-drill.ts';

/** Prints a line for each alert, and below the table why alerts were not caused. */
export function printDrill(
  results: readonly DrillResult[],
  notCaused: Readonly<Record<string, string>>,
): void {
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
  for (const [alert, reason] of Object.entries(notCaused)) printNote(`${alert} was not caused: it ${reason}`);
}
