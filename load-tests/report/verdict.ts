import { counted } from '../../common/counted.ts';
import { LATE_MS_MAX } from '../load/offer-load.ts';
import type { LoadResult } from '../load/run-load.ts';
import type { PhaseReport } from './phase-report.ts';
import { type LevelResult, levelText, type Measure } from './service-levels.ts';

/** Share of the target arrivals that the generator must send in time for a run to count as measured. */
const OFFERED_SHARE_MIN = 0.99;

/**
 * `failed`: a guarantee or a service level was violated. `not_measured`: no guarantee was violated, but the load was not offered as configured,
 * so the service levels say nothing about the target.
 */
export type Verdict = 'passed' | 'failed' | 'not_measured';

export type Judgement = {
  readonly verdict: Verdict;
  /** Why the run did not pass; empty if it passed. */
  readonly reasons: readonly string[];
};

type Totals = { readonly failed: number; readonly unrecorded: number; readonly shed: number };

/** Judges a run by the guarantees, by whether the load was offered as configured, and by its service levels. */
export function judgeRun(
  result: LoadResult,
  {
    phases,
    totals,
    levels,
  }: { phases: readonly PhaseReport[]; totals: Totals; levels: readonly LevelResult[] },
  scenario: { readonly exhaustsBudgets: boolean },
): Judgement {
  const violated = violatedGuarantees(result, totals, new Set(levels.map(({ measure }) => measure)));
  const unmeasured = [...slowPhases(phases), ...unmetConditions(result, scenario)];
  const missed = [...levels.filter(({ met }) => !met).map(levelText), ...shedArrivals(totals)];
  // Guarantees hold on any machine. Service levels only count if the load was offered as configured.
  const rest = unmeasured.length > 0 ? 'not_measured' : missed.length > 0 ? 'failed' : 'passed';
  return {
    verdict: violated.length > 0 ? 'failed' : rest,
    reasons: [...violated, ...missed, ...unmeasured],
  };
}

function slowPhases(phases: readonly PhaseReport[]): string[] {
  return phases
    .filter((phase) => phase.offeredPerSecond < phase.targetPerSecond * OFFERED_SHARE_MIN)
    .map(
      (phase) =>
        `this machine was too slow to offer the load of phase ${phase.name} in time (at most ${LATE_MS_MAX} ms late): ` +
        `target ${Math.round(phase.targetPerSecond)}/s, offered ${Math.round(phase.offeredPerSecond)}/s`,
    );
}

function shedArrivals({ shed }: Totals): string[] {
  return shed > 0
    ? [`${counted(shed, 'arrival was', 'arrivals were')} shed: too many requests were under way`]
    : [];
}

/** The conditions of the scenario that the run did not meet. */
function unmetConditions(
  { interrupted, faults, ledger, population }: LoadResult,
  { exhaustsBudgets }: { exhaustsBudgets: boolean },
): string[] {
  const exhausted = population.advertiserIds.filter(
    (id) => (ledger.advertisers.get(id)?.overBudget ?? 0) > 0,
  );
  const total = population.advertiserIds.length;
  return [
    ...(interrupted ? ['the run was interrupted'] : []),
    ...faults.filter(({ succeeded }) => !succeeded).map(({ description }) => description),
    ...(exhaustsBudgets && exhausted.length < total
      ? [
          `expected all ${total} budgets to be exhausted, got ${exhausted.length}: use a longer --hold or fewer --advertisers`,
        ]
      : []),
  ];
}

function violatedGuarantees(
  { ledger, reconciliation, load }: LoadResult,
  totals: Totals,
  // A service level for failed or unrecorded clicks replaces the guarantee that there are none.
  judgedByLevel: ReadonlySet<Measure>,
): string[] {
  const failures = [...load.failures].map(([reason, count]) => `${reason}: ${count}`).join(', ');
  const checks: [boolean, string][] = [
    [
      ledger.missing > 0,
      `${counted(ledger.missing, 'recorded click is', 'recorded clicks are')} not in the ledger: ${ledger.missingIds.join(' ')}`,
    ],
    [
      ledger.duplicateIds > 0,
      `${counted(ledger.duplicateIds, 'click has', 'clicks have')} the click id of another click`,
    ],
    [!reconciliation.balanced, `the books do not balance: ${reconciliation.problems.join('; ')}`],
    [
      reconciliation.missing > 0,
      `${counted(reconciliation.missing, 'accepted click is', 'accepted clicks are')} missing from the books`,
    ],
    [
      totals.failed > 0 && !judgedByLevel.has('failed'),
      `${counted(totals.failed, 'redirect')} failed${failures === '' ? '' : ` (${failures})`}`,
    ],
    [
      totals.unrecorded > 0 && !judgedByLevel.has('unrecorded'),
      `${counted(totals.unrecorded, 'click was', 'clicks were')} redirected without being recorded`,
    ],
  ];
  return checks.flatMap(([isViolated, text]) => (isViolated ? [text] : []));
}
