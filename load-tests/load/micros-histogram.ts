import { build, type Histogram } from 'hdr-histogram-js';

/** Highest value of a histogram, in µs: an hour. */
const MICROS_MAX = 3_600_000_000;

/** A histogram of times in µs with three significant digits and constant memory: https://hdrhistogram.github.io/HdrHistogram/ */
export type MicrosHistogram = Histogram;

export function createMicrosHistogram(): MicrosHistogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: MICROS_MAX,
    numberOfSignificantValueDigits: 3,
  });
}

/** Records a time given in ms. Times below 1 µs count as 1 µs, times above an hour as an hour. */
export function recordMs(micros: MicrosHistogram, ms: number): void {
  micros.recordValue(Math.max(1, Math.min(MICROS_MAX, Math.round(ms * 1_000))));
}

/** A percentile (0–100) in ms; 100 is the longest time. 0 for an empty histogram. */
export function percentileMs(micros: MicrosHistogram, percentile: number): number {
  if (micros.totalCount === 0) return 0;
  // The percentile is the upper bound of its bucket, which can exceed the highest recorded value.
  return Math.min(micros.getValueAtPercentile(percentile), micros.maxValue) / 1_000;
}
