import { printLine, printTable } from '../../cli/print.ts';
import { counted } from '../../common/counted.ts';
import type { LoadReport } from './report.ts';
import { levelText } from './service-levels.ts';

/** Verdicts as people read them. */
export const VERDICTS = { passed: 'Passed', failed: 'Failed', not_measured: 'Not measured' } as const;

/** Writes what a load showed, for a person, to standard output. */
export function printReport(report: LoadReport): void {
  const { ledger, reconciliation } = report;
  if (report.interrupted) printLine('Ended early: this is what was measured until then.');
  printLine('');
  printTable(
    report.phases.map((phase) => ({
      phase: phase.name,
      seconds: phase.seconds.toFixed(1),
      'asked/s': phase.askedPerSecond.toFixed(0),
      'offered/s': phase.offeredPerSecond.toFixed(0),
      'answered/s': phase.answeredPerSecond.toFixed(0),
      'p50 ms': phase.latencyMs.p50.toFixed(2),
      'p90 ms': phase.latencyMs.p90.toFixed(2),
      'p99 ms': phase.latencyMs.p99.toFixed(2),
      'p99.9 ms': phase.latencyMs.p999.toFixed(2),
      'max ms': phase.latencyMs.max.toFixed(2),
      'own p99 ms': phase.latenessP99Ms.toFixed(2),
    })),
    'No arrival was offered.',
  );
  printLine('');
  printLine(
    'Latency runs from when an arrival was due to its answer; "own" is how late the generator itself was.',
  );
  printLine('');
  printLine(
    `Redirects  ${report.redirected} of ${counted(report.arrivals, 'arrival')}: ${report.recorded} recorded, ` +
      `${report.unrecorded} not recorded; ${report.turnedAway} rightly turned away, ${report.failed} failed, ${report.shed} shed`,
  );
  const deepest =
    report.backlogMaxClicks === null
      ? ''
      : `; at most ${counted(report.backlogMaxClicks, 'click')} in the broker, the oldest ${(report.backlogMaxSeconds ?? 0).toFixed(1)} s`;
  printLine(`Backlog    drained ${report.drainSeconds.toFixed(1)} s after the last arrival${deepest}`);
  printLine(
    `Ledger     ${ledger.found} of ${counted(report.recorded, 'recorded click')}, ${ledger.missing} missing, ${ledger.twice} twice; ` +
      `${ledger.charged} charged, ${ledger.chargedAmount} USD` +
      (ledger.notCharged > 0 ? `, ${ledger.notCharged} not charged` : '') +
      (ledger.untold > 0 ? `; ${ledger.untold} more whose answer was lost on its way` : ''),
  );
  printLine(
    `Books      ${reconciliation.balanced ? 'balance' : 'do not balance'}: ${reconciliation.accepted} accepted, ` +
      `${reconciliation.inFlight} in flight, ${reconciliation.missing} missing`,
  );
  for (const [name, { mostMb, growthMbPerHour }] of Object.entries(report.memory)) {
    printLine(
      `Memory     ${name}: ${mostMb.toFixed(0)} MB at most` +
        (report.scenario === 'soak' ? `, ${growthMbPerHour.toFixed(1)} MB an hour` : ''),
    );
  }
  if (report.overDelivered > 0)
    printLine(
      `Budgets    ${counted(report.overDelivered, 'click')} sent to advertisers past their budgets: ` +
        `${report.overDeliverySeconds.toFixed(2)} s of its traffic to the worst off`,
    );
  for (const { atMs, what } of report.disturbances)
    printLine(`After ${(atMs / 1_000).toFixed(0)} s  ${what}`);
  for (const level of report.levels) printLine(`${level.met ? 'Met    ' : 'NOT MET'}    ${levelText(level)}`);
  printLine('');
  const reasons =
    report.reasons.length === 0 ? '' : `:\n${report.reasons.map((reason) => `  - ${reason}\n`).join('')}`;
  printLine(`${VERDICTS[report.verdict]}${reasons === '' ? '.' : reasons}`);
}
