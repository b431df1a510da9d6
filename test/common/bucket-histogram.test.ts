import fc from 'fast-check';
import { AggregatorRegistry, Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { BucketHistogram } from '../../common/telemetry/bucket-histogram.ts';

const NAME = 'test_duration_seconds';
const HELP = 'A test';
const BUCKETS = [0.1, 1, 10];

/** A histogram of ours and one of prom-client, each in a registry, after the same observations. */
function both(values: readonly number[]): [Registry, Registry] {
  const [ours, theirs] = [new Registry(), new Registry()];
  const histograms = [
    new BucketHistogram(NAME, HELP, BUCKETS, ours),
    new Histogram({ name: NAME, help: HELP, buckets: BUCKETS, registers: [theirs] }),
  ];
  for (const histogram of histograms) for (const value of values) histogram.observe(value);
  return [ours, theirs];
}

const value = fc.oneof(fc.constantFrom(0, ...BUCKETS), fc.double({ min: 0, max: 100, noNaN: true }));

describe('a histogram', () => {
  it('is exported as that of prom-client', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(value), async (values) => {
        const [ours, theirs] = both(values);
        expect(await ours.metrics()).toBe(await theirs.metrics());
      }),
    );
  });

  it('is added up over workers as that of prom-client', async () => {
    const [ours, theirs] = both([0.05, 0.1, 5, 50]);
    const aggregate = async (registry: Registry) => {
      const json = await registry.getMetricsAsJSON();
      // Workers send their metrics as messages.
      return AggregatorRegistry.aggregate([json, JSON.parse(JSON.stringify(json))]).metrics();
    };
    expect(await aggregate(ours)).toBe(await aggregate(theirs));
  });
});
