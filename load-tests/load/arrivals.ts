/** One stretch of a load: the rate goes in a straight line from one value to the other. */
export type Phase = {
  readonly name: string;
  readonly ms: number;
  /** Arrivals a second at its begin and at its end. */
  readonly fromRate: number;
  readonly toRate: number;
};

/**
 * When arrivals are due: an open model, decided before the first request is sent and by the clock alone, so that
 * no answer, however slow, moves an arrival. Evenly spaced, so that two runs ask for the same.
 */
export type Arrivals = {
  readonly phases: readonly Phase[];
  /** Number of arrivals of each phase. */
  readonly counts: readonly number[];
  readonly total: number;
  readonly ms: number;
  /** Arrivals a second that are asked for at a time, in ms from the start. */
  readonly rateAt: (atMs: number) => number;
  /** The next arrival, or `null` after the last: its phase, and when it is due in ms from the start. */
  readonly next: () => { readonly phase: number; readonly atMs: number } | null;
};

/** Lays out the arrivals of phases that follow each other. */
export function planArrivals(phases: readonly Phase[]): Arrivals {
  const counts = phases.map((phase) =>
    Math.round(((phase.fromRate + phase.toRate) / 2) * (phase.ms / 1_000)),
  );
  let index = 0;
  let done = 0;
  let startMs = 0;
  return {
    phases,
    counts,
    total: counts.reduce((sum, count) => sum + count, 0),
    ms: phases.reduce((sum, { ms }) => sum + ms, 0),
    rateAt: (atMs) => {
      let left = atMs;
      for (const { ms, fromRate, toRate } of phases) {
        if (left < ms) return fromRate + (toRate - fromRate) * (left / ms);
        left -= ms;
      }
      return 0;
    },
    next: () => {
      for (let phase = phases[index]; phase; phase = phases[index]) {
        if (done < (counts[index] ?? 0)) {
          // The middle of its share, so that the first is not due before the load begins.
          const atMs = startMs + timeOf((done + 0.5) / (counts[index] ?? 1), phase);
          done += 1;
          return { phase: index, atMs };
        }
        startMs += phase.ms;
        index += 1;
        done = 0;
      }
      return null;
    },
  };
}

/** When a share (0–1) of a phase's arrivals has come, in ms from its start: the area under a line, turned around. */
function timeOf(share: number, { ms, fromRate, toRate }: Phase): number {
  const slope = toRate - fromRate;
  if (Math.abs(slope) < 1e-9) return share * ms;
  const area = (share * (fromRate + toRate)) / 2;
  return ((Math.sqrt(fromRate * fromRate + 2 * slope * area) - fromRate) / slope) * ms;
}
