import { percentileMs } from '../load/micros-histogram.ts';
import type { PhaseCounts } from '../load/offer-load.ts';
import type { LoadResult } from '../load/run-load.ts';
import type { Measure } from './service-levels.ts';

const PERCENTILES = { p50: 50, p90: 90, p99: 99, p999: 99.9, max: 100 } as const;

/** Time from the due time of an arrival to its complete answer, in ms. */
export type Percentiles = Readonly<Record<keyof typeof PERCENTILES, number>>;

export type PhaseReport = {
  readonly name: string;
  readonly seconds: number;
  readonly targetPerSecond: number;
  /** Arrivals that the generator sent in time (`LATE_MS_MAX`). */
  readonly offeredPerSecond: number;
  readonly answeredPerSecond: number;
  readonly latencyMs: Percentiles;
  /** Delay of the load generator after the due time, in ms. It is included in the latency. */
  readonly latenessP99Ms: number;
};

/** Reports each phase in which arrivals were sent. */
export function reportPhases({ arrivals, load, interrupted }: LoadResult): PhaseReport[] {
  let startMs = 0;
  return arrivals.phases.flatMap((phase, index) => {
    const counts = load.phases[index];
    // An interrupted run is reported for the time that it lasted.
    const seconds = Math.min(phase.ms, interrupted ? load.elapsedMs - startMs : phase.ms) / 1_000;
    startMs += phase.ms;
    if (!counts || counts.begun === 0 || seconds <= 0) return [];
    const target = interrupted ? counts.begun : (arrivals.counts[index] ?? 0);
    return {
      name: phase.name,
      seconds,
      targetPerSecond: target / seconds,
      offeredPerSecond: counts.offered / seconds,
      answeredPerSecond: counts.answeredInPhase / seconds,
      latencyMs: percentilesOf(counts),
      latenessP99Ms: percentileMs(counts.latenessMicros, 99),
    };
  });
}

function percentilesOf({ latencyMicros }: PhaseCounts): Percentiles {
  return {
    p50: percentileMs(latencyMicros, PERCENTILES.p50),
    p90: percentileMs(latencyMicros, PERCENTILES.p90),
    p99: percentileMs(latencyMicros, PERCENTILES.p99),
    p999: percentileMs(latencyMicros, PERCENTILES.p999),
    max: percentileMs(latencyMicros, PERCENTILES.max),
  };
}

/** For each latency measure the highest value of all phases, in ms; `p99/base` is the highest p99 divided by that of the first phase. */
export function measureLatency(phases: readonly PhaseReport[]): Partial<Record<Measure, number | null>> {
  const [base] = phases;
  if (base === undefined) return {};
  const highest = (pick: (latency: Percentiles) => number) =>
    Math.max(...phases.map(({ latencyMs }) => pick(latencyMs)));
  const p99 = highest((latency) => latency.p99);
  return {
    p50: highest((latency) => latency.p50),
    p90: highest((latency) => latency.p90),
    p99,
    'p99.9': highest((latency) => latency.p999),
    max: highest((latency) => latency.max),
    'p99/base': base.latencyMs.p99 > 0 ? p99 / base.latencyMs.p99 : null,
  };
}
