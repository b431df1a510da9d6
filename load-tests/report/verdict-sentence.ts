import { counted } from '../../common/counted.ts';
import type { PhaseReport } from './phase-report.ts';
import type { LoadReport } from './report.ts';

/** The phase with the highest p99, or `null` if no arrival was offered. */
export function slowestPhase({ phases }: Pick<LoadReport, 'phases'>): PhaseReport | null {
  const byP99 = phases.toSorted((a, b) => b.latencyMs.p99 - a.latencyMs.p99);
  return byP99[0] ?? null;
}

/** What a run has shown, in one or two sentences for the top of its report. All reasons are in `report.reasons`. */
export function verdictSentence(report: LoadReport): string {
  const [reason = ''] = report.reasons;
  const more = report.reasons.length - 1;
  const others = more > 0 ? ` (and ${counted(more, 'more reason')})` : '';
  switch (report.verdict) {
    case 'passed':
      return `Passed: ${ledgerClause(report)}${latencyClause(report)}.${budgetSentence(report)}`;
    case 'failed':
      return `Failed: ${reason}${others}.`;
    case 'not_measured':
      return `Not measured: ${reason}${others}. No guarantee was violated: ${ledgerClause(report)}.`;
    default:
      return report.verdict satisfies never;
  }
}

function ledgerClause({ recorded }: LoadReport): string {
  return recorded === 1
    ? 'the one recorded click is in the ledger, and the books balance'
    : `each of ${recorded.toLocaleString('en')} recorded clicks is in the ledger, none twice, and the books balance`;
}

function latencyClause(report: LoadReport): string {
  const phase = slowestPhase(report);
  if (phase === null) return '';
  const p99 = Number(phase.latencyMs.p99.toPrecision(3));
  return `; 99 % of redirects took at most ${p99} ms in the slowest phase, ${phase.name}`;
}

/** The answer of the scenario `exhaust`: what was redirected past the budgets. */
function budgetSentence({ scenario, overDelivered, overDeliverySeconds }: LoadReport): string {
  if (overDelivered === 0)
    return scenario === 'exhaust' ? ' No click was redirected past an exhausted budget.' : '';
  const seconds = Number(overDeliverySeconds.toPrecision(2));
  return (
    ` ${counted(overDelivered, 'click was', 'clicks were')} redirected past an exhausted budget and not charged: ` +
    `at most ${seconds} s of the traffic of an advertiser.`
  );
}
