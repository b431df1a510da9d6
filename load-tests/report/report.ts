import { counted } from '../../common/counted.ts';
import { formatAmount } from '../../common/money.ts';
import type { Disturbance } from '../load/fault-injection.ts';
import { msAt } from '../load/micros.ts';
import { LATE_MS_MAX, type PhaseCounts } from '../load/offer-load.ts';
import type { LoadResult } from '../load/run-load.ts';
import type { Moment } from '../load/timeline.ts';
import { judge, type LevelResult, levelText, type Measure, type ServiceLevel } from './service-levels.ts';

/** Part of the asked arrivals that must have been offered in time for a run to count as measured. */
const OFFERED_SHARE_MIN = 0.99;
const PERCENTILES = { p50: 50, p90: 90, p99: 99, p999: 99.9, max: 100 } as const;

/**
 * `failed`: a promise was broken. `not_measured`: none that was seen, but this machine could not offer what was
 * asked, so nothing is said about the target.
 */
export type Verdict = 'passed' | 'failed' | 'not_measured';

/** From the intended start to the whole answer, in ms. */
export type Percentiles = Readonly<Record<keyof typeof PERCENTILES, number>>;

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

/** What a load showed, as `--json` prints it. */
export type LoadReport = {
  readonly scenario: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly target: string;
  readonly verdict: Verdict;
  /** What was asked of it besides the promises, and what was measured. */
  readonly levels: readonly LevelResult[];
  /** What speaks against it; empty when it passed. */
  readonly reasons: readonly string[];
  readonly interrupted: boolean;
  readonly phases: readonly PhaseReport[];
  readonly arrivals: number;
  readonly redirected: number;
  readonly recorded: number;
  readonly unrecorded: number;
  /** Prefetches and forged links, which are not redirected. */
  readonly turnedAway: number;
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly shed: number;
  readonly backlogMaxClicks: number | null;
  readonly backlogMaxSeconds: number | null;
  readonly drainSeconds: number;
  /** Clicks that advertisers were sent past their budgets; and in seconds of its traffic at the peak, of the worst off. */
  readonly overDeliverySeconds: number;
  readonly overDelivered: number;
  /** What each process of the stack held at most, and how it grew after the first tenth of the run, in MB. */
  readonly memory: Readonly<Record<string, { readonly mostMb: number; readonly growthMbPerHour: number }>>;
  readonly disturbances: readonly Disturbance[];
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
  readonly reconciliation: {
    readonly balanced: boolean;
    readonly accepted: number;
    readonly inFlight: number;
    readonly missing: number;
    readonly problems: readonly string[];
  };
};

/** Sums a load up and judges it: by the promises, and by the service levels that were asked for. */
export function reportOf(
  result: LoadResult,
  {
    scenario,
    levels: asked,
  }: { scenario: { name: string; runsDry: boolean }; levels: readonly ServiceLevel[] },
): LoadReport {
  const { load, ledger, reconciliation, timeline, disturbances } = result;
  const backlogMax = timeline.most();
  const phases = phasesOf(result);
  const sum = (pick: (counts: PhaseCounts) => number) =>
    load.phases.reduce((total, counts) => total + pick(counts), 0);
  const totals = {
    arrivals: sum((counts) => counts.begun),
    recorded: sum((counts) => counts.recorded),
    unrecorded: sum((counts) => counts.unrecorded),
    turnedAway: sum((counts) => counts.turnedAway),
    // What was never answered has no phase any more; it has failed like what timed out.
    failed: sum((counts) => counts.failed) + load.underWay,
    shed: sum((counts) => counts.shed),
  };
  const memory = memoryOf(timeline.moments);
  const overDeliverySeconds = overDelivery(result, phases);
  const drainSeconds = ledger.drainMs / 1_000;
  const levels = judge(asked, {
    ...latencyMeasures(phases),
    drain: drainSeconds,
    age: backlogMax.oldestSeconds,
    failed: (totals.failed / Math.max(1, totals.arrivals)) * 100,
    unrecorded: (totals.unrecorded / Math.max(1, totals.arrivals)) * 100,
    memory: stackMost(memory),
    'over-delivery': overDeliverySeconds,
  });
  const allowed = new Set(asked.map(({ measure }) => measure));
  const broken = brokenPromises(result, totals, allowed);
  const slow = phases
    .filter((phase) => phase.offeredPerSecond < phase.askedPerSecond * OFFERED_SHARE_MIN)
    .map(
      (phase) =>
        `this machine was too slow to offer the ${phase.name} in time (at most ${LATE_MS_MAX} ms late): ` +
        `offered ${Math.round(phase.offeredPerSecond)}/s, asked ${Math.round(phase.askedPerSecond)}/s`,
    );
  const unmeasured = [...slow, ...undone(result, scenario)];
  const shed =
    totals.shed > 0
      ? [`${counted(totals.shed, 'arrival was', 'arrivals were')} shed: too many requests were under way`]
      : [];
  const missed = [...levels.filter(({ met }) => !met).map(levelText), ...shed];
  return {
    // A promise holds on any machine; how fast the target is can only be told by a load that was offered as asked.
    verdict:
      broken.length > 0
        ? 'failed'
        : unmeasured.length > 0
          ? 'not_measured'
          : missed.length > 0
            ? 'failed'
            : 'passed',
    scenario: scenario.name,
    startedAt: result.startedAt.toISOString(),
    target: result.target,
    levels,
    reasons: [...broken, ...missed, ...unmeasured],
    interrupted: result.interrupted,
    phases,
    ...totals,
    redirected: totals.recorded + totals.unrecorded,
    failures: Object.fromEntries(load.failures),
    backlogMaxClicks: backlogMax.brokerClicks,
    backlogMaxSeconds: backlogMax.oldestSeconds,
    drainSeconds,
    overDeliverySeconds,
    overDelivered: [...ledger.advertisers.values()].reduce((total, one) => total + one.overDelivered, 0),
    memory,
    disturbances,
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
    reconciliation: {
      balanced: reconciliation.balanced,
      accepted: reconciliation.accepted,
      inFlight: reconciliation.inFlight,
      missing: reconciliation.missing,
      problems: reconciliation.problems,
    },
  };
}

/** What the run was to do and did not: it says nothing about the rest. */
function undone(
  { interrupted, disturbances, ledger, population }: LoadResult,
  { runsDry }: { runsDry: boolean },
): string[] {
  const dry = population.advertiserIds.filter((id) => (ledger.advertisers.get(id)?.overBudget ?? 0) > 0);
  const total = population.advertiserIds.length;
  return [
    ...(interrupted ? ['it was ended early'] : []),
    ...disturbances.filter(({ isDone }) => !isDone).map(({ what }) => what),
    ...(runsDry && dry.length < total
      ? [
          `expected all ${total} budgets to run dry, ${dry.length} did: a longer --hold or fewer --advertisers`,
        ]
      : []),
  ];
}

/** The most that a process of the stack held, in MB; `null` where one of them did not tell. */
function stackMost({ 'ad server': adServer, processor }: LoadReport['memory']): number | null {
  return adServer && processor ? Math.max(adServer.mostMb, processor.mostMb) : null;
}

function brokenPromises(
  { ledger, reconciliation, load }: LoadResult,
  totals: { failed: number; unrecorded: number },
  // What a service level allows some of is judged by that.
  allowed: ReadonlySet<Measure>,
): string[] {
  const why = [...load.failures].map(([reason, count]) => `${reason}: ${count}`).join(', ');
  const found: [boolean, string][] = [
    [
      ledger.missing > 0,
      `${counted(ledger.missing, 'recorded click is', 'recorded clicks are')} not in the ledger: ${ledger.missingIds.join(' ')}`,
    ],
    [
      ledger.twice > 0,
      `${counted(ledger.twice, 'click shares its', 'clicks share their')} click id with another`,
    ],
    [!reconciliation.balanced, `the books do not balance: ${reconciliation.problems.join('; ')}`],
    [
      reconciliation.missing > 0,
      `${counted(reconciliation.missing, 'accepted click is', 'accepted clicks are')} missing from the books`,
    ],
    [
      totals.failed > 0 && !allowed.has('failed'),
      `${counted(totals.failed, 'redirect')} failed${why === '' ? '' : ` (${why})`}`,
    ],
    [
      totals.unrecorded > 0 && !allowed.has('unrecorded'),
      `${counted(totals.unrecorded, 'click was', 'clicks were')} redirected without being recorded`,
    ],
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
      answeredPerSecond: counts.answeredMeanwhile / seconds,
      latencyMs: percentilesOf(counts),
      latenessP99Ms: msAt(counts.latenessMicros, 99),
    };
  });
}

function percentilesOf({ latencyMicros }: PhaseCounts): Percentiles {
  return {
    p50: msAt(latencyMicros, PERCENTILES.p50),
    p90: msAt(latencyMicros, PERCENTILES.p90),
    p99: msAt(latencyMicros, PERCENTILES.p99),
    p999: msAt(latencyMicros, PERCENTILES.p999),
    max: msAt(latencyMicros, PERCENTILES.max),
  };
}

/** Of the phase that is worst in each, and how much worse than the first it is. */
function latencyMeasures(phases: readonly PhaseReport[]): Partial<Record<Measure, number | null>> {
  const [base] = phases;
  if (base === undefined) return {};
  const worst = (pick: (latency: Percentiles) => number) =>
    Math.max(...phases.map(({ latencyMs }) => pick(latencyMs)));
  const p99 = worst((latency) => latency.p99);
  return {
    p50: worst((latency) => latency.p50),
    p90: worst((latency) => latency.p90),
    p99,
    'p99.9': worst((latency) => latency.p999),
    max: worst((latency) => latency.max),
    'p99/base': base.latencyMs.p99 > 0 ? p99 / base.latencyMs.p99 : null,
  };
}

/** Clicks that an advertiser was sent past its budget, in seconds of its traffic at the peak: that of the worst off. */
function overDelivery({ ledger }: LoadResult, phases: readonly PhaseReport[]): number {
  const peak = Math.max(0, ...phases.map(({ answeredPerSecond }) => answeredPerSecond));
  const seconds = [...ledger.advertisers.values()].map(({ found, overDelivered }) =>
    overDelivered === 0 ? 0 : overDelivered / ((found / ledger.found) * peak),
  );
  return Math.max(0, ...seconds);
}

/** What processes held, and the slope of a line through it (least squares) after a first tenth in which they grow. */
function memoryOf(moments: readonly Moment[]): LoadReport['memory'] {
  const settled = moments.slice(Math.ceil(moments.length / 10));
  const names = new Set(moments.flatMap(({ system }) => Object.keys(system.processes)));
  const found: Record<string, { mostMb: number; growthMbPerHour: number }> = {};
  for (const name of names) {
    const pointsOf = (some: readonly Moment[]) =>
      some.flatMap(({ atSeconds, system }) => {
        const use = system.processes[name as keyof typeof system.processes];
        return use === null ? [] : [{ hours: atSeconds / 3_600, mb: use.residentBytes / 1e6 }];
      });
    const all = pointsOf(moments);
    if (all.length === 0) continue;
    found[name] = {
      mostMb: Math.max(...all.map(({ mb }) => mb)),
      growthMbPerHour: slopeOf(pointsOf(settled)),
    };
  }
  return found;
}

function slopeOf(points: readonly { hours: number; mb: number }[]): number {
  const mean = (pick: (point: { hours: number; mb: number }) => number) =>
    points.reduce((sum, point) => sum + pick(point), 0) / Math.max(1, points.length);
  const [hours, mb] = [mean((point) => point.hours), mean((point) => point.mb)];
  let [over, under] = [0, 0];
  for (const point of points) {
    over += (point.hours - hours) * (point.mb - mb);
    under += (point.hours - hours) ** 2;
  }
  return under === 0 ? 0 : over / under;
}
