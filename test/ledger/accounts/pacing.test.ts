import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Plan, paceAt, plannedMicros } from '../../../ledger/accounts/pacing.ts';

const HOUR_MS = 3_600_000;

/** A plan over a day of 23, 24 or 25 hours, or over the rest of it. */
const plan: fc.Arbitrary<Plan> = fc
  .record({
    dayBegins: fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }),
    hours: fc.constantFrom(23, 24, 25),
    startsAfter: fc.nat(22),
    capMicros: fc.integer({ min: 1, max: 1_000_000_000_000_000 }),
    fromShare: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ dayBegins, hours, startsAfter, capMicros, fromShare }) => {
    const fromMicros = Math.floor(capMicros * fromShare);
    return {
      capMicros,
      fromMicros,
      from: dayBegins + startsAfter * HOUR_MS,
      to: dayBegins + hours * HOUR_MS,
      spentMicros: fromMicros,
      aheadUntil: null,
    };
  });
const share = fc.double({ min: -0.5, max: 1.5, noNaN: true });
const timeOf = ({ from, to }: Plan, at: number) => from + at * (to - from);

describe('the plan of a daily cap', () => {
  it('never falls, begins with what was spent, and reaches the cap at its end, also on days of 23 and 25 hours', () => {
    fc.assert(
      fc.property(plan, share, share, (line, one, other) => {
        const [early, late] = [Math.min(one, other), Math.max(one, other)].map((at) => timeOf(line, at));
        expect(plannedMicros(line, early ?? 0)).toBeLessThanOrEqual(plannedMicros(line, late ?? 0));
        expect(plannedMicros(line, line.from)).toBe(line.fromMicros);
        expect(plannedMicros(line, line.to)).toBe(line.capMicros);
        expect(plannedMicros(line, line.to + 1)).toBe(line.capMicros);
        const now = plannedMicros(line, timeOf(line, one));
        expect(now).toBeGreaterThanOrEqual(line.fromMicros);
        expect(now).toBeLessThanOrEqual(line.capMicros);
      }),
    );
  });

  it('allows the same amount in each hour, whatever the length of the day', () => {
    for (const hours of [23, 24, 25]) {
      const day = { from: 0, to: hours * HOUR_MS, fromMicros: 0, capMicros: hours * 1_000_000 };
      const line = { ...day, spentMicros: 0, aheadUntil: null };
      for (let hour = 1; hour <= hours; hour += 1)
        expect(plannedMicros(line, hour * HOUR_MS)).toBeCloseTo(hour * 1_000_000);
    }
  });

  it('of a campaign that ends where it begins is the cap', () => {
    const line = { from: 5, to: 5, fromMicros: 0, capMicros: 10, spentMicros: 0, aheadUntil: null };
    expect(plannedMicros(line, 4)).toBe(0);
    expect(plannedMicros(line, 5)).toBe(10);
  });
});

describe('the pace', () => {
  const line = { from: 1_000, to: 2_000, fromMicros: 0, capMicros: 400, spentMicros: 300, aheadUntil: 1_750 };

  it('has shares of the daily cap, and is ahead until the plan reaches what is spent', () => {
    expect(paceAt(line, 1_500)).toEqual({ planned: 0.5, spent: 0.75, isAhead: true, aheadUntil: 1_750 });
    expect(paceAt(line, 1_749)).toMatchObject({ isAhead: true });
    expect(paceAt(line, 1_750)).toEqual({ planned: 0.75, spent: 0.75, isAhead: false, aheadUntil: null });
  });
});
