import { expect, test } from 'vitest';
import { microsOf, restOf, shareOf } from '../../../console/page/amounts.ts';

test('amounts are exact to the last digit', () => {
  expect(microsOf('12.50')).toBe(12_500_000n);
  expect(microsOf('-0.000001')).toBe(-1n);
  expect(microsOf('9007199254740993.123456')).toBe(9_007_199_254_740_993_123_456n);
});

test('the rest of a cap is exact and never negative', () => {
  expect(restOf('90.00', '12.25')).toBe('77.75');
  expect(restOf('9007199254740993.00', '0.000001')).toBe('9007199254740992.999999');
  expect(restOf('1.50', '1.499')).toBe('0.001');
  expect(restOf('5.00', '1.00')).toBe('4.00');
  expect(restOf('1.00', '1.00')).toBe('0.00');
  expect(restOf('1.00', '2.00')).toBe('0.00');
});

test('the share of a bar is between 0 and 1', () => {
  expect(shareOf('25.00', '100.00')).toBe(0.25);
  expect(shareOf('200.00', '100.00')).toBe(1);
  expect(shareOf('-5.00', '100.00')).toBe(0);
  expect(shareOf('0.00', '0.00')).toBe(0);
});
