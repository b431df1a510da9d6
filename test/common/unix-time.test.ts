import { expect, it } from 'vitest';
import { unixMs } from '../../common/unix-time.ts';

const AT = Date.UTC(2026, 10, 26, 9, 7, 10);

it.each([
  [AT / 1_000, AT],
  [AT / 1_000 + 0.25, AT + 250],
  [String(AT / 1_000), AT],
  ['1795684030.5', AT + 500],
  [AT, AT],
  [String(AT), AT],
  // pandas writes whole numbers of a column with gaps as floats.
  [`${AT}.0`, AT],
  ['2026-11-26T09:07:10Z', AT],
  ['2026-11-26T09:07:10.123456789Z', AT + 123],
  ['2026-11-26t09:07:10z', AT],
  ['2026-11-26 10:07:10+01:00', AT],
  ['2026-11-26 09:07:10+00', AT],
  ['2026-11-26T04:07:10-0500', AT],
])('reads %j', (time, ms) => {
  expect(unixMs(time)).toBe(ms);
});

it.each([
  [null],
  [undefined],
  [''],
  [0],
  [-AT],
  [Number.NaN],
  [AT * 1_000],
  [String(AT * 1_000)],
  [1e11],
  ['2026-11-26T09:07:10'],
  ['2026-11-26'],
  ['2026-02-31T00:00:00Z'],
  ['2026-11-26T09:07:60Z'],
  ['2026-11-26T09:07:10+25:00'],
  [`${'1'.repeat(1_000_000)}x`],
])('knows no time in case %#', (time) => {
  expect(unixMs(time)).toBeNull();
});
