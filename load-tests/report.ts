import { formatAmount } from '../common/money.ts';
import { LATE_MS_MAX, type PhaseCounts } from './offer-load.ts';
import type { LoadResult } from './run-load.ts';

/** Part of the asked arrivals that must have been offered in time for a run to count as measured. */
const OFFERED_SHARE_MIN = 0.99;
const PERCENTILES = { p50: 50, p90: 90, p99: 99, p999: 99.9 } as const;

/**
 * `failed`: a promise was broken. `not_measured`: none that was seen, but this machine could not offer what was
 * asked, so nothing is said about the target.
 */
export type Verdict = 'passed' | 'failed' | 'not_measured';

/** From the intended start to the whole answer, in ms. */
export type Percentiles = Readonly<Record<keyof typeof PERCENTILES | 'max', number>>;

export type PhaseReport = {
  readonly name: string;
  readonly seconds: number;
  readonly askedPerSecond: number;
  readonly offeredPerSecond: number;
  readonly answeredPerSecond: number;
  readonly latencyMs: Percentiles;
  /** How late the generator itself began, part of the latency, in ms. */
  readonly latenessP99Ms: number;
};

/** What a spike showed, as `--json` prints it. */
export type SpikeReport = {
  readonly verdict: Verdict;
  /** What speaks against it; empty when it passed. */
  readonly reasons: readonly string[];
  readonly interrupted: boolean;
  readonly phases: readonly PhaseReport[];
  readonly arrivals: number;
  readonly redirected: number;
  readonly recorded: number;
  readonly unrecorded: number;
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly shed: number;
  readonly backlogMaxClicks: number | null;
  readonly backlogMaxSeconds: number | null;
  readonly drainSeconds: number;
  readonly ledger: {
    readonly found: number;
    readonly missing: number;
    readonly missingIds: readonly string[];
    readonly twice: number;
    readonly charged: number;
    readonly notCharged: number;
    readonly chargedAmount: string;
    readonly untold: number;
  };
  readonly books: {
    readonly balanced: boolean;
    readonly accepted: number;
    readonly inFlight: number;
    readonly missing: number;
    readonly problems: readonly string[];
  };
};

/** Sums a load up and judges it. */
export function reportOf(result: LoadResult): SpikeReport {
  const { load, ledger, books, backlogMax } = result;
  const phases = phasesOf(result);
  const sum = (pick: (counts: PhaseCounts) => number) =>
    load.phases.reduce((total, counts) => total + pick(counts), 0);
  const totals = {
    arrivals: sum((counts) => counts.begun),
    recorded: sum((counts) => counts.recorded),
    unrecorded: sum((counts) => counts.unrecorded),
    // What was never answered has no phase any more; it has failed like what timed out.
    failed: sum((counts) => counts.failed) + load.underWay,
    shed: sum((counts) => counts.shed),
  };
  const broken = brokenPromises(result, totals);
  const slow = phases
    .filter((phase) => phase.offeredPerSecond < phase.askedPerSecond * OFFERED_SHARE_MIN)
    .map(
      (phase) =>
        `this machine was too slow to offer the ${phase.name} in time (at most ${LATE_MS_MAX} ms late): ` +
        `offered ${Math.round(phase.offeredPerSecond)}/s, asked ${Math.round(phase.askedPerSecond)}/s`,
    );
  const shed = totals.shed > 0 ? [`${totals.shed} arrivals were shed: too many requests were under way`] : [];
  const failed = broken.length > 0 || (shed.length > 0 && slow.length === 0);
  return {
    verdict: failed ? 'failed' : slow.length > 0 ? 'not_measured' : 'passed',
    reasons: [...broken, ...shed, ...slow],
    interrupted: result.interrupted,
    phases,
    ...totals,
    redirected: totals.recorded + totals.unrecorded,
    failures: Object.fromEntries(load.failures),
    backlogMaxClicks: backlogMax.brokerClicks,
    backlogMaxSeconds: backlogMax.oldestSeconds,
    drainSeconds: ledger.drainMs / 1_000,
    ledger: {
      found: ledger.found,
      missing: ledger.missing,
      missingIds: ledger.missingIds,
      twice: ledger.twice,
      charged: ledger.charged,
      notCharged: ledger.notCharged,
      chargedAmount: formatAmount(ledger.chargedMicros),
      untold: ledger.untold,
    },
    books: {
      balanced: books.balanced,
      accepted: books.accepted,
      inFlight: books.inFlight,
      missing: books.missing,
      problems: books.problems,
    },
  };
}

function brokenPromises(
  { ledger, books, load }: LoadResult,
  totals: { failed: number; unrecorded: number },
): string[] {
  const why = [...load.failures].map(([reason, count]) => `${reason}: ${count}`).join(', ');
  const found: [boolean, string][] = [
    [
      ledger.missing > 0,
      `${ledger.missing} recorded clicks are not in the ledger: ${ledger.missingIds.join(' ')}`,
    ],
    [ledger.twice > 0, `${ledger.twice} clicks are in the ledger more than once`],
    [!books.balanced, `the books do not balance: ${books.problems.join('; ')}`],
    [books.missing > 0, `${books.missing} accepted clicks are missing from the books`],
    [totals.failed > 0, `${totals.failed} redirects failed${why === '' ? '' : ` (${why})`}`],
    [totals.unrecorded > 0, `${totals.unrecorded} clicks were redirected without being recorded`],
  ];
  return found.flatMap(([holds, text]) => (holds ? [text] : []));
}

function phasesOf({ arrivals, load, interrupted }: LoadResult): PhaseReport[] {
  let startMs = 0;
  return arrivals.phases.flatMap((phase, index) => {
    const counts = load.phases[index];
    // A run that was ended early is judged by what it came to.
    const seconds = Math.min(phase.ms, interrupted ? load.elapsedMs - startMs : phase.ms) / 1_000;
    startMs += phase.ms;
    if (!counts || counts.begun === 0 || seconds <= 0) return [];
    const asked = interrupted ? counts.begun : (arrivals.counts[index] ?? 0);
    return {
      name: phase.name,
      seconds,
      askedPerSecond: asked / seconds,
      offeredPerSecond: counts.offered / seconds,
      answeredPerSecond: (counts.recorded + counts.unrecorded) / seconds,
      latencyMs: percentilesOf(counts),
      latenessP99Ms: counts.latenessMicros.getValueAtPercentile(99) / 1_000,
    };
  });
}

function percentilesOf({ latencyMicros }: PhaseCounts): Percentiles {
  // A percentile is the upper edge of its bucket, which may lie above the highest value there was.
  const at = (percentile: number) =>
    Math.min(latencyMicros.getValueAtPercentile(percentile), latencyMicros.maxValue) / 1_000;
  return {
    p50: at(PERCENTILES.p50),
    p90: at(PERCENTILES.p90),
    p99: at(PERCENTILES.p99),
    p999: at(PERCENTILES.p999),
    max: latencyMicros.maxValue / 1_000,
  };
}
