import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { BurnRates, secondsToExhaustion } from '../ledger/live/burn-rate.ts';
import type { AdvertiserNumbers } from '../ledger/operations/advertiser-numbers.ts';
import { OtherClicks, type OutcomeClicks } from './other-clicks.ts';

/** The label `advertiser` of the sums of all advertisers that have no series of their own. */
export const OTHER = 'other';
type AdvertiserLabel = number | typeof OTHER;

/** The values of one `advertiser` label. Amounts in units of the currency. */
type Series = OutcomeClicks & {
  readonly advertiser: AdvertiserLabel;
  readonly name: string;
  readonly status: string;
  readonly currency: string;
  readonly remaining: number;
  readonly spent: number;
  readonly perSecond: number | null;
  readonly secondsToExhaustion: number | null;
};

/**
 * Sets the metrics of the `advertisersMax` advertisers with the highest spend, and the sums of the others by currency.
 *
 * An advertiser can move between the two. Its own counter is the number in the ledger, which continues where it was. The counters of `other`
 * are never decreased: they count what the clicks of the advertisers without series grow by while this process runs. So `rate()` and
 * `increase()` see no jump of either.
 */
export class AdvertiserGauges {
  readonly #metrics: ProcessMetrics;
  readonly #advertisersMax: number;
  readonly #burnRates = new BurnRates();
  readonly #otherClicks = new OtherClicks();
  /** Currency of each advertiser that has series, by id; `null` before the first read. */
  #exported: ReadonlyMap<number, string> | null = null;
  /** The over-delivery that the latest scrape showed, by id: a series that comes back continues where it ended. */
  readonly #scraped = new Map<number, number>();

  constructor(metrics: ProcessMetrics, advertisersMax: number) {
    this.#metrics = metrics;
    this.#advertisersMax = advertisersMax;
  }

  /** Sets all series. `advertisers` are all, in the order of `readAdvertiserNumbers`; `atMs` is when they were read (monotonic). */
  set(advertisers: readonly AdvertiserNumbers[], atMs: number): void {
    this.#burnRates.sample(atMs, advertisers);
    const others = advertisers.slice(this.#advertisersMax);
    this.#otherClicks.count(advertisers, others);
    const series = advertisers.slice(0, this.#advertisersMax).map((advertiser) => this.#seriesOf(advertiser));
    const sums = this.#sumByCurrency(others);
    this.remove();
    for (const one of [...series, ...sums]) this.#setSeries(one);
    this.#moveOverDelivery(
      new Map(advertisers.slice(0, this.#advertisersMax).map(({ id, currency }) => [id, currency])),
    );
    for (const { currency } of sums) this.#metrics.overDelivery.inc({ advertiser: OTHER, currency }, 0);
  }

  /** Removes all series but those of over-delivery, whose values come from this process. */
  remove(): void {
    const { advertiserClicks, budgetRemaining, budgetSpent, burnRate, timeToExhaustion, advertiserInfo } =
      this.#metrics;
    for (const metric of [
      advertiserClicks,
      budgetRemaining,
      budgetSpent,
      burnRate,
      timeToExhaustion,
      advertiserInfo,
    ])
      metric.reset();
  }

  /** Moves the over-delivery of advertisers without series to `other`. Call it before each scrape. */
  async foldOverDelivery(): Promise<void> {
    const { overDelivery } = this.#metrics;
    const exported = this.#exported;
    if (exported === null) return;
    const { values } = await overDelivery.get();
    for (const { labels, value } of values) {
      const { advertiser = '', currency = '' } = labels;
      if (advertiser === OTHER) continue;
      if (exported.has(Number(advertiser))) {
        this.#scraped.set(Number(advertiser), value);
        continue;
      }
      overDelivery.remove({ advertiser, currency });
      overDelivery.inc({ advertiser: OTHER, currency }, value);
    }
  }

  /**
   * Adds the over-delivery of advertisers that get series, and removes that of those that lose them: it was scraped as theirs, so `other` must
   * not count it again.
   */
  #moveOverDelivery(exported: ReadonlyMap<number, string>): void {
    const { overDelivery } = this.#metrics;
    const before = this.#exported ?? new Map<number, string>();
    for (const [advertiser, currency] of before)
      if (!exported.has(advertiser)) overDelivery.remove({ advertiser, currency });
    // Each begins at 0, so that an alert on its increase sees the first increment.
    for (const [advertiser, currency] of exported)
      if (!before.has(advertiser))
        overDelivery.inc({ advertiser, currency }, this.#scraped.get(advertiser) ?? 0);
    this.#exported = exported;
  }

  #seriesOf(numbers: AdvertiserNumbers): Series {
    const { id, name, status, currency, charged, overBudget, invalid } = numbers;
    const rate = this.#burnRates.microsPerSecond(id);
    return {
      advertiser: id,
      ...{ name, status, currency, charged, overBudget, invalid },
      remaining: Number(numbers.remainingMicros) / 1e6,
      spent: Number(numbers.spentMicros) / 1e6,
      perSecond: rate === null ? null : rate / 1e6,
      secondsToExhaustion: numbers.isExhausted ? 0 : secondsToExhaustion(numbers.remainingMicros, rate),
    };
  }

  #sumByCurrency(others: readonly AdvertiserNumbers[]): Series[] {
    const sums = new Map<string, Series>();
    for (const numbers of others) {
      const { currency, remaining, spent, perSecond, secondsToExhaustion: seconds } = this.#seriesOf(numbers);
      const sum = sums.get(currency);
      sums.set(currency, {
        ...{ advertiser: OTHER, name: OTHER, status: '', currency },
        ...this.#otherClicks.of(currency),
        remaining: remaining + (sum?.remaining ?? 0),
        spent: spent + (sum?.spent ?? 0),
        perSecond: perSecond === null ? (sum?.perSecond ?? null) : perSecond + (sum?.perSecond ?? 0),
        secondsToExhaustion: shorter(seconds, sum?.secondsToExhaustion ?? null),
      });
    }
    return [...sums.values()];
  }

  #setSeries(series: Series): void {
    const { advertiser, currency, name, status } = series;
    const metrics = this.#metrics;
    const labels = { advertiser, currency };
    metrics.budgetRemaining.set(labels, series.remaining);
    metrics.budgetSpent.set(labels, series.spent);
    if (series.perSecond !== null) metrics.burnRate.set(labels, series.perSecond);
    if (series.secondsToExhaustion !== null) metrics.timeToExhaustion.set(labels, series.secondsToExhaustion);
    metrics.advertiserInfo.set({ advertiser, name, status, currency }, 1);
    metrics.advertiserClicks.inc({ ...labels, outcome: 'charged' }, series.charged);
    metrics.advertiserClicks.inc({ ...labels, outcome: 'over_budget' }, series.overBudget);
    metrics.advertiserClicks.inc({ ...labels, outcome: 'invalid' }, series.invalid);
  }
}

/** The shorter of two times; one that is 0 belongs to a budget that is exhausted already, and `null` to one that is not being spent. */
function shorter(one: number | null, other: number | null): number | null {
  if (!one) return other;
  return other === null ? one : Math.min(one, other);
}
