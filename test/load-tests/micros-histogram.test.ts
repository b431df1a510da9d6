import { expect, it } from 'vitest';
import { createMicrosHistogram, percentileMs, recordMs } from '../../load-tests/load/micros-histogram.ts';

it('returns percentiles in ms, at most the longest recorded time', () => {
  const micros = createMicrosHistogram();
  expect(percentileMs(micros, 99)).toBe(0);
  for (let ms = 1; ms <= 100; ms += 1) recordMs(micros, ms);
  expect(percentileMs(micros, 50)).toBeCloseTo(50, 0);
  expect(percentileMs(micros, 99)).toBeCloseTo(99, 0);
  expect(percentileMs(micros, 100)).toBe(percentileMs(micros, 99.999));
  expect(percentileMs(micros, 100)).toBeLessThanOrEqual(100.1);
});

it('counts times below a microsecond as one, and times above an hour as one hour', () => {
  const micros = createMicrosHistogram();
  recordMs(micros, 0);
  expect(percentileMs(micros, 100)).toBe(0.001);
  recordMs(micros, 1e9);
  expect(percentileMs(micros, 100)).toBeCloseTo(3_600_000, -4);
});
