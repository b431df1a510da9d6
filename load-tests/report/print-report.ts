import { printLine, printTable } from '../../cli/print.ts';
import { counted } from '../../common/counted.ts';
import type { LoadReport } from './report.ts';
import { levelText } from './service-levels.ts';

/** Verdicts as they are printed. */
export const VERDICTS = { passed: 'Passed', failed: 'Failed', not_measured: 'Not measured' } as const;

/** Prints the report of a load to standard output. */
export function printReport(report: LoadReport): void {
  if (report.interrupted) printLine('The run was interrupted. The report covers the time until then.');
  printLine('');
  printPhases(report);
  printClicks(report);
  printResources(report);
  for (const { atMs, description } of report.faults)
    printLine(`Fault      after ${(atMs / 1_000).toFixed(0)} s: ${description}`);
  for (const level of report.levels) printLine(`${level.met ? 'Met    ' : 'NOT MET'}    ${levelText(level)}`);
  printLine('');
  const reasons =
    report.reasons.length === 0 ? '' : `:\n${report.reasons.map((reason) => `  - ${reason}\n`).join('')}`;
  printLine(`${VERDICTS[report.verdict]}${reasons === '' ? '.' : reasons}`);
}

function printPhases(report: LoadReport): void {
  printTable(
    report.phases.map((phase) => ({
      phase: phase.name,
      seconds: phase.seconds.toFixed(1),
      'target/s': phase.targetPerSecond.toFixed(0),
      'offered/s': phase.offeredPerSecond.toFixed(0),
      'answered/s': phase.answeredPerSecond.toFixed(0),
      'p50 ms': phase.latencyMs.p50.toFixed(2),
      'p90 ms': phase.latencyMs.p90.toFixed(2),
      'p99 ms': phase.latencyMs.p99.toFixed(2),
      'p99.9 ms': phase.latencyMs.p999.toFixed(2),
      'max ms': phase.latencyMs.max.toFixed(2),
      'generator p99 ms': phase.latenessP99Ms.toFixed(2),
    })),
    'No arrival was offered.',
  );
  printLine('');
  printLine(
    'Latency counts from the time an arrival was due. "generator" is the delay of the load generator; the latency includes it.',
  );
  printLine('');
}

function printClicks(report: LoadReport): void {
  const { ledger, reconciliation } = report;
  printLine(
    `Redirects  ${report.redirected} of ${counted(report.arrivals, 'arrival')}: ${report.recorded} recorded, ` +
      `${report.unrecorded} not recorded; ${report.refused} refused as expected, ${report.failed} failed, ${report.shed} shed`,
  );
  const maximum =
    report.backlogMaxClicks === null
      ? ''
      : `; at most ${counted(report.backlogMaxClicks, 'click')} in the broker, the oldest ${(report.backlogMaxSeconds ?? 0).toFixed(1)} s`;
  printLine(`Backlog    drained ${report.drainSeconds.toFixed(1)} s after the last arrival${maximum}`);
  printLine(
    `Ledger     ${ledger.found} of ${counted(report.recorded, 'recorded click')}, ${ledger.missing} missing, ${ledger.duplicateIds} with the click id of another; ` +
      `${ledger.charged} charged, ${ledger.chargedAmount} USD` +
      (ledger.notCharged > 0 ? `, ${ledger.notCharged} not charged` : '') +
      (ledger.unacknowledged > 0
        ? `; ${counted(ledger.unacknowledged, 'other row', 'other rows')} of clicks whose response was lost`
        : ''),
  );
  printLine(
    `Books      ${reconciliation.balanced ? 'balance' : 'do not balance'}: ${reconciliation.accepted} accepted, ` +
      `${reconciliation.inFlight} in flight, ${reconciliation.missing} missing`,
  );
  if (report.overDelivered > 0)
    printLine(
      `Budgets    ${counted(report.overDelivered, 'click')} redirected to advertisers past their budgets, ` +
        `for one advertiser up to ${report.overDeliverySeconds.toFixed(2)} s of its traffic`,
    );
}

function printResources(report: LoadReport): void {
  for (const [name, { maxMb, growthMbPerHour }] of Object.entries(report.memory)) {
    printLine(
      `Memory     ${name}: ${maxMb.toFixed(0)} MB at most` +
        (report.scenario === 'soak' ? `, growth ${growthMbPerHour.toFixed(1)} MB per hour` : ''),
    );
  }
}
