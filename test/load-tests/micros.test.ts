import { expect, it } from 'vitest';
import { createMicros, msAt, recordMs } from '../../load-tests/load/micros.ts';

it('tells percentiles in ms, none above the longest time there was', () => {
  const micros = createMicros();
  expect(msAt(micros, 99)).toBe(0);
  for (let ms = 1; ms <= 100; ms += 1) recordMs(micros, ms);
  expect(msAt(micros, 50)).toBeCloseTo(50, 0);
  expect(msAt(micros, 99)).toBeCloseTo(99, 0);
  expect(msAt(micros, 100)).toBe(msAt(micros, 99.999));
  expect(msAt(micros, 100)).toBeLessThanOrEqual(100.1);
});

it('takes times below a microsecond, and beyond an hour, for those', () => {
  const micros = createMicros();
  recordMs(micros, 0);
  expect(msAt(micros, 100)).toBe(0.001);
  recordMs(micros, 1e9);
  expect(msAt(micros, 100)).toBeCloseTo(3_600_000, -4);
});
