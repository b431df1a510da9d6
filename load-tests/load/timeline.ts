import type { Arrivals } from './arrivals.ts';
import { msAt } from './micros.ts';
import type { Load } from './offer-load.ts';
import { type createObserver, oldestSeconds, type SystemState } from './system-metrics.ts';

/** Time between two looks, in ms. */
const LOOK_MS = 1_000;

/** One look at a load and at the system under it. */
export type Moment = {
  /** Since the start of the load, in seconds. */
  readonly atSeconds: number;
  /** Name of the phase; `null` once the last arrival is over. */
  readonly phase: string | null;
  /** Since the moment before, a second each. */
  readonly askedPerSecond: number;
  readonly begunPerSecond: number;
  readonly answeredPerSecond: number;
  readonly failedPerSecond: number;
  readonly underWay: number;
  /** Of what was answered since the moment before, in ms; `null` if nothing was. */
  readonly latencyMs: {
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly max: number;
  } | null;
  readonly system: SystemState;
  /** Part of one processor that each process used since the moment before. */
  readonly cpu: Readonly<Record<string, number | null>>;
};

/** What is seen of a run, a moment a second. */
export type Timeline = {
  readonly moments: readonly Moment[];
  /** The most that was seen waiting. */
  readonly most: () => { brokerClicks: number | null; oldestSeconds: number | null };
  readonly stop: () => void;
};

/** Watches a load until it is stopped; `onMoment` sees each moment as it comes. */
export function watchTimeline(
  { load, arrivals }: { load: Load; arrivals: Arrivals },
  observer: ReturnType<typeof createObserver>,
  onMoment: (moment: Moment) => void,
): Timeline {
  const moments: Moment[] = [];
  const startedAt = performance.now();
  let before = { at: startedAt, totals: totalsOf(load), processes: null as SystemState['processes'] | null };
  let looking = false;

  const look = async () => {
    // A part that is slow to tell makes a gap, and no heap of questions.
    if (looking) return;
    looking = true;
    try {
      const system = await observer.look();
      const at = performance.now();
      const totals = totalsOf(load);
      const seconds = (at - before.at) / 1_000;
      const perSecond = (count: number) => count / seconds;
      const isOver = load.endedAt > 0;
      const moment: Moment = {
        atSeconds: (at - startedAt) / 1_000,
        phase: isOver ? null : (arrivals.phases[load.phase]?.name ?? null),
        // In the middle of the time that the other rates are of.
        askedPerSecond: isOver ? 0 : arrivals.rateAt((at + before.at) / 2 - startedAt),
        begunPerSecond: perSecond(totals.begun - before.totals.begun),
        answeredPerSecond: perSecond(totals.answered - before.totals.answered),
        failedPerSecond: perSecond(totals.failed - before.totals.failed),
        underWay: load.underWay,
        latencyMs: takeLatency(load),
        system,
        cpu: cpuOf(system.processes, before.processes, seconds),
      };
      before = { at, totals, processes: system.processes };
      moments.push(moment);
      onMoment(moment);
    } finally {
      looking = false;
    }
  };
  const timer = setInterval(look, LOOK_MS);
  const mostOf = (pick: (state: SystemState) => number | null) => {
    const values = moments.flatMap(({ system }) => pick(system) ?? []);
    return values.length === 0 ? null : Math.max(...values);
  };
  return {
    moments,
    most: () => ({
      brokerClicks: mostOf(({ brokerClicks }) => brokerClicks),
      oldestSeconds: mostOf(oldestSeconds),
    }),
    stop: () => clearInterval(timer),
  };
}

/** Percentiles of the latencies since the last call. */
function takeLatency({ recent }: Load): Moment['latencyMs'] {
  if (recent.totalCount === 0) return null;
  const latency = {
    p50: msAt(recent, 50),
    p90: msAt(recent, 90),
    p99: msAt(recent, 99),
    max: msAt(recent, 100),
  };
  recent.reset();
  return latency;
}

function cpuOf(
  now: SystemState['processes'],
  before: SystemState['processes'] | null,
  seconds: number,
): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(now).map(([name, use]) => {
      const earlier = before?.[name as keyof typeof now] ?? null;
      // One that was started anew counts from nought.
      const used = use === null || earlier === null ? null : use.cpuSeconds - earlier.cpuSeconds;
      return [name, used === null || used < 0 ? null : used / seconds];
    }),
  );
}

function totalsOf(load: Load) {
  const sum = { begun: 0, answered: 0, failed: 0, shed: 0 };
  for (const { begun, recorded, unrecorded, turnedAway, failed, shed } of load.phases) {
    sum.begun += begun;
    sum.answered += recorded + unrecorded + turnedAway;
    sum.failed += failed + shed;
    sum.shed += shed;
  }
  return sum;
}
