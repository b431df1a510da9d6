import type { AdvertiserNumbers } from '../ledger/operations/advertiser-numbers.ts';

/** Numbers of clicks by outcome. */
export type OutcomeClicks = {
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
};

const NONE: OutcomeClicks = { charged: 0, overBudget: 0, invalid: 0 };

/** Counts the clicks of advertisers without series of their own, by currency, from 0 on. The counts never decrease. */
export class OtherClicks {
  /** The clicks of every advertiser at the latest call, by id. */
  #latest: ReadonlyMap<number, OutcomeClicks> = new Map();
  readonly #counts = new Map<string, OutcomeClicks>();

  /** Adds what the clicks of `others` have grown by since the latest call. `all` are all advertisers. */
  count(all: readonly AdvertiserNumbers[], others: readonly AdvertiserNumbers[]): void {
    for (const numbers of others) {
      const before = this.#latest.get(numbers.id);
      if (before === undefined) continue;
      const sum = this.of(numbers.currency);
      const grown = (outcome: keyof OutcomeClicks) =>
        sum[outcome] + Math.max(0, numbers[outcome] - before[outcome]);
      this.#counts.set(numbers.currency, {
        charged: grown('charged'),
        overBudget: grown('overBudget'),
        invalid: grown('invalid'),
      });
    }
    this.#latest = new Map(all.map((numbers) => [numbers.id, numbers]));
  }

  /** The counts of a currency. */
  of(currency: string): OutcomeClicks {
    return this.#counts.get(currency) ?? NONE;
  }
}
