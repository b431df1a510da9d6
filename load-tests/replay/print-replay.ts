import { printLine } from '../../cli/print.ts';
import { counted } from '../../common/counted.ts';
import { VERDICTS } from '../report/print-report.ts';
import type { ReplayReport } from './replay-report.ts';

/** Prints the report of a replay to standard output. */
export function printReplay(report: ReplayReport): void {
  const { ledger, reconciliation, http, latenessMs } = report;
  if (report.interrupted) printLine('The replay was interrupted. The report covers the clicks until then.');
  const skipped = Object.entries(report.skipped);
  printLine('');
  printLine(
    `Lines      ${report.lines} (${report.format}): ${report.replayed} replayed, ${report.broken} broken, ` +
      `${skipped.reduce((sum, [, count]) => sum + count, 0)} skipped${listed(skipped)}`,
  );
  for (const { line, why } of report.brokenLines) printLine(`           line ${line}: ${why}`);
  if (report.broken > report.brokenLines.length)
    printLine(`           and ${report.broken - report.brokenLines.length} more`);
  const lateness =
    latenessMs === null
      ? ''
      : `; late by p50 ${latenessMs.p50.toFixed(1)}, p99 ${latenessMs.p99.toFixed(1)}, at most ${latenessMs.max.toFixed(1)} ms`;
  printLine(
    `Rate       ${report.replayedPerSecond.toFixed(0)} clicks/s for ${report.seconds.toFixed(1)} s (speed ${report.speed})${lateness}`,
  );
  if (http !== null) {
    printLine(
      `Redirects  ${http.recorded} recorded, ${http.unrecorded} not recorded, ${http.failed} failed, ${http.shed} shed; ` +
        `p50 ${http.latencyMs.p50.toFixed(2)}, p99 ${http.latencyMs.p99.toFixed(2)}, at most ${http.latencyMs.max.toFixed(2)} ms`,
    );
  }
  const amounts = Object.entries(ledger.charged).map(([currency, amount]) => `${amount} ${currency}`);
  printLine(
    `Ledger     ${ledger.found} of ${counted(ledger.expected, 'click')}, ${ledger.missing} missing; ${counted(ledger.before, 'was', 'were')} settled before` +
      `${ledger.found > ledger.before ? `, ${counted(ledger.found - ledger.before, 'is', 'are')} new` : ''}${listed(Object.entries(ledger.outcomes))}`,
  );
  printLine(`Charged    ${amounts.length === 0 ? 'nothing' : amounts.join(', ')}`);
  printLine(
    `Books      ${reconciliation.balanced ? 'balance' : `do not balance: ${reconciliation.problems.join('; ')}`}`,
  );
  printLine('');
  const reasons = report.reasons.map((reason) => `  - ${reason}\n`).join('');
  printLine(`${VERDICTS[report.verdict]}${reasons === '' ? '.' : `:\n${reasons}`}`);
}

function listed(counts: readonly (readonly [string, number])[]): string {
  return counts.length === 0 ? '' : ` (${counts.map(([name, count]) => `${name} ${count}`).join(', ')})`;
}
