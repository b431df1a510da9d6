import { describe, expect, it } from 'vitest';
import { BurnRates, RATE_WINDOW_MS, secondsToExhaustion } from '../../../ledger/live/burn-rate.ts';

/** Samples one advertiser each second: `spentAt` has the micros by second. Returns its rate after the last second. */
function rateAfter(seconds: number, spentAt: (second: number) => number, rates = new BurnRates()) {
  for (let second = 0; second <= seconds; second += 1)
    rates.sample(second * 1_000, [{ id: 1, spentMicros: BigInt(spentAt(second)) }]);
  return rates.microsPerSecond(1);
}

describe('the burn rate', () => {
  it('is not known before the samples span 30 s', () => {
    expect(rateAfter(29, (second) => second * 50)).toBeNull();
    expect(rateAfter(30, (second) => second * 50)).toBe(50);
    expect(new BurnRates().microsPerSecond(1)).toBeNull();
  });

  it('is 0 while nothing is spent', () => {
    expect(rateAfter(100, () => 7_000_000)).toBe(0);
  });

  it('is that of the last 10 minutes', () => {
    // 100 micros per second for an hour, then nothing for 5 minutes, then nothing for another 5.
    const spentAt = (second: number) => Math.min(second, 3_600) * 100;
    expect(rateAfter(3_600, spentAt)).toBeCloseTo(100);
    expect(rateAfter(3_900, spentAt)).toBeCloseTo(50, 0);
    expect(rateAfter(4_210, spentAt)).toBe(0);
  });

  it('follows samples at any interval', () => {
    const rates = new BurnRates();
    for (const second of [0, 15, 30, 45, 60]) {
      rates.sample(second * 1_000, [{ id: 1, spentMicros: BigInt(second * 2_000_000) }]);
    }
    expect(rates.microsPerSecond(1)).toBe(2_000_000);
  });

  it('starts again if the amount falls, as after a restore of the database', () => {
    const rates = new BurnRates();
    rateAfter(300, (second) => 1_000_000 + second * 1_000, rates);
    rates.sample(301_000, [{ id: 1, spentMicros: 500_000n }]);
    expect(rates.microsPerSecond(1)).toBeNull();
    rates.sample(341_000, [{ id: 1, spentMicros: 540_000n }]);
    expect(rates.microsPerSecond(1)).toBe(1_000);
  });

  it('is forgotten for advertisers that are not sampled any more', () => {
    const rates = new BurnRates();
    rateAfter(60, (second) => second, rates);
    rates.sample(61_000 + RATE_WINDOW_MS, [{ id: 2, spentMicros: 0n }]);
    expect(rates.microsPerSecond(1)).toBeNull();
  });
});

describe('the time to exhaustion', () => {
  it('is what remains divided by the rate', () => {
    expect(secondsToExhaustion(3_600_000_000n, 1_000_000)).toBe(3_600);
    expect(secondsToExhaustion(0n, null)).toBe(0);
    expect(secondsToExhaustion(5n, null)).toBeNull();
    expect(secondsToExhaustion(5n, 0)).toBeNull();
  });
});
