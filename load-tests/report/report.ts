import { formatAmount } from '../../common/money.ts';
import type { InjectedFault } from '../load/fault-injection.ts';
import type { PhaseCounts } from '../load/offer-load.ts';
import type { LoadResult } from '../load/run-load.ts';
import { type MemoryReport, reportMemory, stackMemoryMaxMb } from './memory-report.ts';
import { measureLatency, type PhaseReport, reportPhases } from './phase-report.ts';
import { evaluateLevels, type LevelResult, type ServiceLevel } from './service-levels.ts';
import { judgeRun, type Verdict } from './verdict.ts';

/** The report of a load, as `--json` prints it. */
export type LoadReport = {
  readonly scenario: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly target: string;
  readonly verdict: Verdict;
  /** The service levels and their measured values. */
  readonly levels: readonly LevelResult[];
  /** Why the run did not pass; empty if it passed. */
  readonly reasons: readonly string[];
  readonly interrupted: boolean;
  readonly phases: readonly PhaseReport[];
  readonly arrivals: number;
  readonly redirected: number;
  readonly recorded: number;
  readonly unrecorded: number;
  /** Prefetches and forged links, which the ad server refused as expected. */
  readonly refused: number;
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly shed: number;
  readonly backlogMaxClicks: number | null;
  readonly backlogMaxSeconds: number | null;
  readonly drainSeconds: number;
  /**
   * The highest over-delivery of an advertiser: clicks redirected to it after its budget was exhausted, divided by its click rate at the peak,
   * in seconds.
   */
  readonly overDeliverySeconds: number;
  /** Clicks redirected to advertisers whose budget was exhausted. */
  readonly overDelivered: number;
  readonly memory: MemoryReport;
  readonly faults: readonly InjectedFault[];
  readonly ledger: {
    readonly found: number;
    readonly missing: number;
    readonly missingIds: readonly string[];
    readonly duplicateIds: number;
    readonly charged: number;
    readonly notCharged: number;
    readonly chargedAmount: string;
    readonly unacknowledged: number;
  };
  readonly reconciliation: {
    readonly balanced: boolean;
    readonly accepted: number;
    readonly inFlight: number;
    readonly missing: number;
    readonly problems: readonly string[];
  };
};

/** Summarizes and judges a load. */
export function reportOf(
  result: LoadResult,
  {
    scenario,
    levels: serviceLevels,
  }: { scenario: { name: string; exhaustsBudgets: boolean }; levels: readonly ServiceLevel[] },
): LoadReport {
  const { load, ledger, reconciliation, timeline, faults } = result;
  const backlog = timeline.maxBacklog();
  const phases = reportPhases(result);
  const totals = sumPhases(result);
  const memory = reportMemory(timeline.samples);
  const overDeliverySeconds = measureOverDelivery(result, phases);
  const drainSeconds = ledger.drainMs / 1_000;
  const levels = evaluateLevels(serviceLevels, {
    ...measureLatency(phases),
    drain: drainSeconds,
    age: backlog.oldestSeconds,
    failed: (totals.failed / Math.max(1, totals.arrivals)) * 100,
    unrecorded: (totals.unrecorded / Math.max(1, totals.arrivals)) * 100,
    memory: stackMemoryMaxMb(memory),
    'over-delivery': overDeliverySeconds,
  });
  return {
    ...judgeRun(result, { phases, totals, levels }, scenario),
    scenario: scenario.name,
    startedAt: result.startedAt.toISOString(),
    target: result.target,
    levels,
    interrupted: result.interrupted,
    phases,
    ...totals,
    redirected: totals.recorded + totals.unrecorded,
    failures: Object.fromEntries(load.failures),
    backlogMaxClicks: backlog.brokerClicks,
    backlogMaxSeconds: backlog.oldestSeconds,
    drainSeconds,
    overDeliverySeconds,
    overDelivered: [...ledger.advertisers.values()].reduce((total, one) => total + one.overDelivered, 0),
    memory,
    faults,
    ledger: reportLedger(ledger),
    reconciliation: {
      balanced: reconciliation.balanced,
      accepted: reconciliation.accepted,
      inFlight: reconciliation.inFlight,
      missing: reconciliation.missing,
      problems: reconciliation.problems,
    },
  };
}

function sumPhases({ load }: LoadResult) {
  const sum = (pick: (counts: PhaseCounts) => number) =>
    load.phases.reduce((total, counts) => total + pick(counts), 0);
  return {
    arrivals: sum((counts) => counts.begun),
    recorded: sum((counts) => counts.recorded),
    unrecorded: sum((counts) => counts.unrecorded),
    refused: sum((counts) => counts.refused),
    // Requests without an answer are not counted in any phase. They count as failed, like timeouts.
    failed: sum((counts) => counts.failed) + load.underWay,
    shed: sum((counts) => counts.shed),
  };
}

function reportLedger(ledger: LoadResult['ledger']): LoadReport['ledger'] {
  return {
    found: ledger.found,
    missing: ledger.missing,
    missingIds: ledger.missingIds,
    duplicateIds: ledger.duplicateIds,
    charged: ledger.charged,
    notCharged: ledger.notCharged,
    chargedAmount: formatAmount(ledger.chargedMicros),
    unacknowledged: ledger.unacknowledged,
  };
}

/** The highest over-delivery of an advertiser, in seconds of its click rate at the peak. */
function measureOverDelivery({ ledger }: LoadResult, phases: readonly PhaseReport[]): number {
  const peak = Math.max(0, ...phases.map(({ answeredPerSecond }) => answeredPerSecond));
  const seconds = [...ledger.advertisers.values()].map(({ found, overDelivered }) =>
    overDelivered === 0 ? 0 : overDelivered / ((found / ledger.found) * peak),
  );
  return Math.max(0, ...seconds);
}
