/** A part of a load in which the rate changes linearly from one value to another. */
export type Phase = {
  readonly name: string;
  readonly ms: number;
  /** Arrivals per second at the start and at the end of the phase. */
  readonly fromRate: number;
  readonly toRate: number;
};

/**
 * The schedule of an open-model load: it is fixed before the first request, so a slow response never delays an arrival.
 * Arrivals are evenly spaced, so two runs offer the same load.
 */
export type Arrivals = {
  readonly phases: readonly Phase[];
  /** Number of arrivals of each phase. */
  readonly counts: readonly number[];
  readonly total: number;
  readonly ms: number;
  /** Target rate in arrivals per second at a time in ms from the start; 0 after the end. */
  readonly rateAt: (atMs: number) => number;
  /** The next arrival, or `null` after the last: the index of its phase, and its due time in ms from the start. */
  readonly next: () => { readonly phase: number; readonly atMs: number } | null;
};

/** Schedules the arrivals of consecutive phases. */
export function planArrivals(phases: readonly Phase[]): Arrivals {
  const counts = phases.map((phase) =>
    Math.round(((phase.fromRate + phase.toRate) / 2) * (phase.ms / 1_000)),
  );
  let index = 0;
  let scheduled = 0;
  let startMs = 0;
  return {
    phases,
    counts,
    total: counts.reduce((sum, count) => sum + count, 0),
    ms: phases.reduce((sum, { ms }) => sum + ms, 0),
    rateAt: (atMs) => {
      let remainingMs = atMs;
      for (const { ms, fromRate, toRate } of phases) {
        if (remainingMs < ms) return fromRate + (toRate - fromRate) * (remainingMs / ms);
        remainingMs -= ms;
      }
      return 0;
    },
    next: () => {
      for (let phase = phases[index]; phase; phase = phases[index]) {
        if (scheduled < (counts[index] ?? 0)) {
          // The middle of the arrival's interval, so that the first arrival is due after the load begins.
          const atMs = startMs + timeOf((scheduled + 0.5) / (counts[index] ?? 1), phase);
          scheduled += 1;
          return { phase: index, atMs };
        }
        startMs += phase.ms;
        index += 1;
        scheduled = 0;
      }
      return null;
    },
  };
}

/** The time in ms from the start of a phase at which a share (0–1) of its arrivals is due: the inverse of the area under its rate. */
function timeOf(share: number, { ms, fromRate, toRate }: Phase): number {
  const slope = toRate - fromRate;
  if (Math.abs(slope) < 1e-9) return share * ms;
  const area = (share * (fromRate + toRate)) / 2;
  return ((Math.sqrt(fromRate * fromRate + 2 * slope * area) - fromRate) / slope) * ms;
}
