import type { KnownAd } from '../../ledger/charge/balances.ts';
import type { AdvertiserBalance } from '../../ledger/charge-locks.ts';
import type { Allocation } from './allocate.ts';

/** Ids of advertisers that a batch has brought to a limit. */
export type ReachedLimits = {
  /** Those whose remaining budget has reached the next threshold of `budget.low`. */
  readonly lowBudget: readonly number[];
  /** Those whose remaining budget, cap or daily cap can be below the price of one of their ads, or that can be held. */
  readonly nearLimit: readonly number[];
};

/** Compares what remains after a batch with the limits of its advertisers. */
export function findReachedLimits(
  allocation: Allocation,
  advertisers: ReadonlyMap<number, AdvertiserBalance>,
  ads: ReadonlyMap<number, KnownAd>,
): ReachedLimits {
  const lowBudget: number[] = [];
  const near = new Set<number>();
  for (const [id, charged] of allocation.chargedByAdvertiser()) {
    const advertiser = advertisers.get(id);
    if (advertiser === undefined) continue;
    const remainingMicros = advertiser.remainingMicros - charged;
    if (remainingMicros < advertiser.maxPriceMicros) near.add(id);
    if (advertiser.lowBudgetMicros !== null && remainingMicros <= advertiser.lowBudgetMicros)
      lowBudget.push(id);
  }
  const byCampaign = allocation.chargedByCampaign();
  for (const { capRemainingMicros, campaignId, advertiserId } of ads.values()) {
    const charged = byCampaign.get(campaignId);
    const maxPriceMicros = advertisers.get(advertiserId)?.maxPriceMicros ?? 0n;
    if (capRemainingMicros !== null && charged && capRemainingMicros - charged < maxPriceMicros)
      near.add(advertiserId);
  }
  for (const { of, micros } of allocation.chargedByDay()) {
    const maxPriceMicros = advertisers.get(of.advertiserId)?.maxPriceMicros ?? 0n;
    if (of.hold || of.capMicros - of.spentMicros - micros < maxPriceMicros) near.add(of.advertiserId);
  }
  return { lowBudget, nearLimit: [...near] };
}
