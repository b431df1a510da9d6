import { Counter, Histogram, Registry } from 'prom-client';
import { beforeEach, describe, expect, it } from 'vitest';
import { metricReader } from '../../common/telemetry/metric-reader.ts';
import { RecentHistogram } from '../../common/telemetry/recent-histogram.ts';
import { RecentIncrease } from '../../common/telemetry/recent-increase.ts';

let now = 0;
const clock = () => now;
beforeEach(() => {
  now = 1_000;
});

describe('a recent histogram', () => {
  const create = () => {
    const histogram = new Histogram({
      name: 'x',
      help: 'x',
      buckets: [0.1, 0.2, 1],
      registers: [new Registry()],
    });
    const recent = new RecentHistogram(clock);
    const take = async (seconds: number, values: readonly number[] = []) => {
      now += seconds * 1_000;
      for (const value of values) histogram.observe(value);
      recent.take(await histogram.get());
    };
    return { histogram, recent, take };
  };

  it('knows nothing at first, then the observations since', async () => {
    const { recent, take } = create();
    await take(0, [0.05, 0.05]);
    expect([recent.perSecond(), recent.quantile(0.99)]).toEqual([null, null]);
    await take(2, [0.15, 0.15, 0.15, 0.15]);
    expect(recent.perSecond()).toBe(2);
    // All four are between 0.1 and 0.2.
    expect(recent.quantile(0.5)).toBeCloseTo(0.15);
  });

  it('has a rate and no quantile without an observation', async () => {
    const { recent, take } = create();
    await take(0);
    await take(2);
    expect([recent.perSecond(), recent.quantile(0.5)]).toEqual([0, null]);
  });

  it('forgets what was longer than 10 s ago', async () => {
    const { recent, take } = create();
    await take(0);
    await take(2, [0.9, 0.9]);
    for (let index = 0; index < 4; index += 1) await take(2, [0.05]);
    expect(recent.perSecond()).toBeCloseTo(6 / 10);
    await take(2, [0.05]);
    expect(recent.perSecond()).toBeCloseTo(5 / 10);
    expect(recent.quantile(1)).toBeCloseTo(0.1);
  });

  it('gives the greatest bound for what is above it', async () => {
    const { recent, take } = create();
    await take(0);
    await take(2, [5]);
    expect(recent.quantile(0.99)).toBe(1);
  });

  it('knows nothing after the counts began again, until then', async () => {
    const { histogram, recent, take } = create();
    await take(0, [0.05, 0.05]);
    histogram.reset();
    await take(2);
    expect([recent.perSecond(), recent.quantile(0.5)]).toEqual([null, null]);
    for (let index = 0; index < 5; index += 1) await take(2, [0.05]);
    expect(recent.perSecond()).toBeCloseTo(0.5);
  });
});

describe('a recent increase', () => {
  it('counts within its time, from 0', () => {
    const recent = new RecentIncrease(10_000, clock);
    const take = (seconds: number, value: number) => {
      now += seconds * 1_000;
      return recent.take(value);
    };
    expect([take(0, 3), take(4, 3), take(4, 5)]).toEqual([3, 3, 5]);
    expect([take(2, 5), take(7, 5), take(1, 5)]).toEqual([2, 2, 0]);
  });

  it('adds what a counter counts after it began again', () => {
    const recent = new RecentIncrease(10_000, clock);
    expect([recent.take(3), recent.take(1), recent.take(2)]).toEqual([3, 4, 5]);
  });
});

describe('the reader of metrics', () => {
  it('sums and compares the series of a metric, and knows when there is none', async () => {
    const registry = new Registry();
    const counter = new Counter({
      name: 'clicks',
      help: 'x',
      labelNames: ['outcome'],
      registers: [registry],
    });
    const { sum, max } = metricReader(registry);
    expect([await sum('clicks'), await max('clicks'), await sum('other')]).toEqual([null, null, null]);
    counter.inc({ outcome: 'a' }, 2);
    counter.inc({ outcome: 'b' }, 3);
    expect(await sum('clicks')).toBe(5);
    expect(await sum('clicks', ({ outcome }) => outcome === 'b')).toBe(3);
    expect(await max('clicks')).toBe(3);
  });
});
