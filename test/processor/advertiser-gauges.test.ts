import { beforeEach, describe, expect, it } from 'vitest';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import type { AdvertiserNumbers } from '../../ledger/operations/advertiser-numbers.ts';
import { AdvertiserGauges } from '../../processor/advertiser-gauges.ts';

/** Time between two reads, in ms. */
const STEP_MS = 5_000;

let metrics: ProcessMetrics;
let gauges: AdvertiserGauges;
let atMs: number;
beforeEach(() => {
  metrics = createMetrics('processor');
  gauges = new AdvertiserGauges(metrics, 2);
  atMs = 0;
});

function numbers(id: number, changes: Partial<AdvertiserNumbers> = {}): AdvertiserNumbers {
  return {
    ...{ id, name: `Advertiser ${id}`, status: 'active', currency: 'USD', isExhausted: false },
    ...{ remainingMicros: 90_000_000n, spentMicros: 10_000_000n, charged: 10, overBudget: 0, invalid: 0 },
    ...changes,
  };
}

/** Sets the gauges as a read does. */
function read(...advertisers: readonly AdvertiserNumbers[]): void {
  gauges.set(advertisers, atMs);
  atMs += STEP_MS;
}

/** All series of the given metric as a scrape shows them: `advertiser currency outcome` and value. */
async function scrape(name: string): Promise<Record<string, number>> {
  await gauges.foldOverDelivery();
  const text = await metrics.registry.getSingleMetricAsString(name);
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  return Object.fromEntries(
    lines.map((line) => {
      const labels = [...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, , value]) => value);
      return [labels.join(' '), Number(line.split(' ').at(-1))];
    }),
  );
}

/** What `increase()` of Prometheus finds in scrapes: a value that falls is one that has begun again at 0. */
function increases(scrapes: readonly Record<string, number>[]): Record<string, number> {
  const found: Record<string, number> = {};
  const latest: Record<string, number> = {};
  for (const [series, value] of scrapes.flatMap((values) => Object.entries(values))) {
    const before = latest[series];
    if (before !== undefined)
      found[series] = (found[series] ?? 0) + (value < before ? value : value - before);
    latest[series] = value;
  }
  return found;
}

const CLICKS = 'tollway_advertiser_clicks_total';
const OVER_DELIVERY = 'tollway_over_delivery_total';

describe('the metrics of advertisers', () => {
  it('have series for the first ones, and the sums of the others by currency', async () => {
    const yen = { currency: 'JPY', spentMicros: 7_000_000n };
    read(numbers(1), numbers(2, yen), numbers(3), numbers(4), numbers(5, yen));
    expect(await scrape('tollway_advertiser_budget_spent')).toEqual({
      ...{ '1 USD': 10, '2 JPY': 7 },
      ...{ 'other USD': 20, 'other JPY': 7 },
    });
    expect(await scrape('tollway_advertiser_budget_remaining')).toMatchObject({ 'other USD': 180 });
    expect(Object.keys(await scrape('tollway_advertiser_info'))).toEqual([
      '1 Advertiser 1 active USD',
      '2 Advertiser 2 active JPY',
      'other other  USD',
      'other other  JPY',
    ]);
  });

  it('have no `other` while all advertisers have series', async () => {
    read(numbers(1), numbers(2));
    expect(Object.keys(await scrape(CLICKS))).toEqual(
      ['1', '2'].flatMap((id) => ['charged', 'over_budget', 'invalid'].map((of) => `${id} USD ${of}`)),
    );
    expect(await scrape(OVER_DELIVERY)).toEqual({ '1 USD': 0, '2 USD': 0 });
  });

  it('count the clicks of the ledger, and those of the others from the first read on', async () => {
    read(numbers(1, { charged: 1_000, overBudget: 5, invalid: 7 }), numbers(2), numbers(3));
    const first = await scrape(CLICKS);
    expect(first).toMatchObject({ '1 USD charged': 1_000, '1 USD over_budget': 5, '1 USD invalid': 7 });
    expect(first).toMatchObject({ 'other USD charged': 0 });
    read(numbers(1), numbers(2), numbers(3, { charged: 14 }));
    expect(await scrape(CLICKS)).toMatchObject({ '2 USD charged': 10, 'other USD charged': 4 });
  });

  it('have no jump for increase() while advertisers move in and out', async () => {
    const charged = new Map([1, 2, 3, 4].map((id) => [id, 1_000 * id]));
    const scrapes: Record<string, number>[] = [];
    const places = [
      [1, 2, 3, 4],
      [1, 3, 2, 4],
      [4, 3, 1, 2],
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ];
    for (const order of places) {
      for (const [id, clicks] of charged) charged.set(id, clicks + 10);
      read(...order.map((id) => numbers(id, { charged: charged.get(id) ?? 0 })));
      scrapes.push(await scrape(CLICKS));
    }
    const found = increases(scrapes);
    // The clicks of advertiser 1 in the third read are in `other` and, since its series continues within the range, in its own as well.
    expect(found).toMatchObject({ '1 USD charged': 40, '2 USD charged': 40, '3 USD charged': 10 });
    expect(found['other USD charged']).toBe(2 * 10 * (places.length - 1));
  });

  it('show how fast a budget is spent, and when it runs dry', async () => {
    const spending = (micros: number) =>
      numbers(1, {
        spentMicros: BigInt(micros) * 1_000_000n,
        remainingMicros: 100_000_000n - BigInt(micros) * 1_000_000n,
      });
    for (let reads = 0; reads <= 6; reads += 1) read(spending(10 * reads), numbers(2));
    expect(await scrape('tollway_advertiser_burn_rate_per_second')).toEqual({ '1 USD': 2, '2 USD': 0 });
    expect(await scrape('tollway_advertiser_time_to_exhaustion_seconds')).toEqual({ '1 USD': 20 });
    read(numbers(1, { isExhausted: true, remainingMicros: 100n, spentMicros: 100_000_000n }), numbers(2));
    expect(await scrape('tollway_advertiser_time_to_exhaustion_seconds')).toEqual({ '1 USD': 0 });
  });

  it('show the sum of the rates of the others, and the shortest time of those that can pay', async () => {
    const spend = (id: number, perRead: number, reads: number, exhausted = false) =>
      numbers(id, { spentMicros: BigInt(perRead * reads) * 1_000_000n, isExhausted: exhausted });
    for (let reads = 0; reads <= 6; reads += 1)
      read(numbers(1), numbers(2), spend(3, 5, reads), spend(4, 10, reads), spend(5, 5, reads, true));
    expect(await scrape('tollway_advertiser_burn_rate_per_second')).toMatchObject({ 'other USD': 4 });
    expect(await scrape('tollway_advertiser_time_to_exhaustion_seconds')).toEqual({ 'other USD': 45 });
  });

  it('disappear when they are removed, and the counters continue', async () => {
    read(numbers(1), numbers(2), numbers(3));
    gauges.remove();
    expect(await scrape(CLICKS)).toEqual({});
    expect(await scrape('tollway_advertiser_info')).toEqual({});
    read(numbers(1), numbers(2), numbers(3, { charged: 12 }));
    expect(await scrape(CLICKS)).toMatchObject({ '1 USD charged': 10, 'other USD charged': 2 });
  });
});

describe('over-delivery', () => {
  const overDeliver = (advertiser: number, value: number) =>
    metrics.overDelivery.inc({ advertiser, currency: 'USD' }, value);

  it('of advertisers without series is added to `other` before a scrape', async () => {
    read(numbers(1), numbers(2), numbers(3), numbers(4));
    overDeliver(1, 1);
    overDeliver(3, 2);
    overDeliver(4, 3);
    expect(await scrape(OVER_DELIVERY)).toEqual({ '1 USD': 1, '2 USD': 0, 'other USD': 5 });
    overDeliver(4, 3);
    expect(await scrape(OVER_DELIVERY)).toEqual({ '1 USD': 1, '2 USD': 0, 'other USD': 8 });
  });

  it('has no jump for increase() while advertisers move in and out', async () => {
    const scrapes: Record<string, number>[] = [];
    for (const order of [
      [1, 2, 3],
      [1, 3, 2],
      [1, 2, 3],
      [1, 2, 3],
    ]) {
      read(...order.map((id) => numbers(id)));
      for (const id of [1, 2, 3]) overDeliver(id, 10);
      scrapes.push(await scrape(OVER_DELIVERY));
    }
    expect(increases(scrapes)).toEqual({ '1 USD': 30, '2 USD': 20, 'other USD': 30 });
  });

  it('is left as it is before the first read', async () => {
    overDeliver(7, 1);
    expect(await scrape(OVER_DELIVERY)).toEqual({ '7 USD': 1 });
  });
});
