import { build, type Histogram } from 'hdr-histogram-js';

/** Longest time that is told apart: an hour, in µs. */
const MICROS_MAX = 3_600_000_000;

/** Times in µs, exact to three digits, in memory that does not grow: https://hdrhistogram.github.io/HdrHistogram/ */
export type Micros = Histogram;

export function createMicros(): Micros {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: MICROS_MAX,
    numberOfSignificantValueDigits: 3,
  });
}

/** Records a time given in ms; one below 1 µs counts as 1 µs. */
export function recordMs(micros: Micros, ms: number): void {
  micros.recordValue(Math.max(1, Math.min(MICROS_MAX, Math.round(ms * 1_000))));
}

/** A percentile, in ms; 100 is the longest. 0 where nothing was recorded. */
export function msAt(micros: Micros, percentile: number): number {
  if (micros.totalCount === 0) return 0;
  // A percentile is the upper edge of its bucket, which may lie above the highest value there was.
  return Math.min(micros.getValueAtPercentile(percentile), micros.maxValue) / 1_000;
}
