import type { Arrivals } from './arrivals.ts';
import { percentileMs } from './micros-histogram.ts';
import type { Load } from './offer-load.ts';
import { type createSystemSampler, oldestSeconds, type SystemState } from './system-metrics.ts';

/** Time between two samples, in ms. */
const SAMPLE_INTERVAL_MS = 1_000;

/** A sample of a load and of the system under test. */
export type Sample = {
  /** Seconds since the start of the load. */
  readonly atSeconds: number;
  /** Name of the phase; `null` after the last arrival. */
  readonly phase: string | null;
  /** Rates since the previous sample, per second. */
  readonly targetPerSecond: number;
  readonly begunPerSecond: number;
  readonly answeredPerSecond: number;
  readonly failedPerSecond: number;
  readonly underWay: number;
  /** Latencies of the answers since the previous sample, in ms; `null` without answers. */
  readonly latencyMs: {
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly max: number;
  } | null;
  readonly system: SystemState;
  /** CPU usage of each process since the previous sample, in cores. */
  readonly cpu: Readonly<Record<string, number | null>>;
};

/** The samples of a run, one per second. */
export type Timeline = {
  readonly samples: readonly Sample[];
  /** The largest backlog of all samples. */
  readonly maxBacklog: () => { brokerClicks: number | null; oldestSeconds: number | null };
  readonly stop: () => void;
};

/** Samples a load until `stop` is called, and passes each sample to `onSample`. */
export function recordTimeline(
  { load, arrivals }: { load: Load; arrivals: Arrivals },
  sampler: ReturnType<typeof createSystemSampler>,
  onSample: (sample: Sample) => void,
): Timeline {
  const samples: Sample[] = [];
  const startedAt = performance.now();
  let before = { at: startedAt, totals: totalsOf(load), processes: null as SystemState['processes'] | null };
  let isSampling = false;

  const takeSample = async () => {
    // If a process is slow to report its metrics, samples are skipped instead of queued.
    if (isSampling) return;
    isSampling = true;
    try {
      const system = await sampler.sample();
      const at = performance.now();
      const totals = totalsOf(load);
      const seconds = (at - before.at) / 1_000;
      const perSecond = (count: number) => count / seconds;
      const isOver = load.endedAt > 0;
      const sample: Sample = {
        atSeconds: (at - startedAt) / 1_000,
        phase: isOver ? null : (arrivals.phases[load.phase]?.name ?? null),
        // At the middle of the interval, to match the other rates, which are means over it.
        targetPerSecond: isOver ? 0 : arrivals.rateAt((at + before.at) / 2 - startedAt),
        begunPerSecond: perSecond(totals.begun - before.totals.begun),
        answeredPerSecond: perSecond(totals.answered - before.totals.answered),
        failedPerSecond: perSecond(totals.failed - before.totals.failed),
        underWay: load.underWay,
        latencyMs: takeLatency(load),
        system,
        cpu: cpuOf(system.processes, before.processes, seconds),
      };
      before = { at, totals, processes: system.processes };
      samples.push(sample);
      onSample(sample);
    } finally {
      isSampling = false;
    }
  };
  const timer = setInterval(takeSample, SAMPLE_INTERVAL_MS);
  const maxOf = (pick: (state: SystemState) => number | null) => {
    const values = samples.flatMap(({ system }) => pick(system) ?? []);
    return values.length === 0 ? null : Math.max(...values);
  };
  return {
    samples,
    maxBacklog: () => ({
      brokerClicks: maxOf(({ brokerClicks }) => brokerClicks),
      oldestSeconds: maxOf(oldestSeconds),
    }),
    stop: () => clearInterval(timer),
  };
}

/** Percentiles of the latencies since the last call. */
function takeLatency({ recent }: Load): Sample['latencyMs'] {
  if (recent.totalCount === 0) return null;
  const latency = {
    p50: percentileMs(recent, 50),
    p90: percentileMs(recent, 90),
    p99: percentileMs(recent, 99),
    max: percentileMs(recent, 100),
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
    Object.entries(now).map(([name, usage]) => {
      const earlier = before?.[name as keyof typeof now] ?? null;
      // The CPU time of a process that was restarted starts at 0 again.
      const used = usage === null || earlier === null ? null : usage.cpuSeconds - earlier.cpuSeconds;
      return [name, used === null || used < 0 ? null : used / seconds];
    }),
  );
}

function totalsOf(load: Load) {
  const sum = { begun: 0, answered: 0, failed: 0, shed: 0 };
  for (const { begun, recorded, unrecorded, refused, failed, shed } of load.phases) {
    sum.begun += begun;
    sum.answered += recorded + unrecorded + refused;
    sum.failed += failed + shed;
    sum.shed += shed;
  }
  return sum;
}
