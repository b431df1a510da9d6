import { microsOf } from './amounts.ts';
import type { Ad, Advertiser, Campaign } from './entities.ts';

/** Whether clicks are charged, or the first thing that prevents it, in the order in which the processor checks it. */
export type ChargeState =
  | 'charging'
  | 'advertiser_paused'
  | 'advertiser_archived'
  | 'campaign_paused'
  | 'campaign_archived'
  | 'ad_paused'
  | 'ad_archived'
  | 'no_ad'
  | 'not_started'
  | 'ended'
  | 'budget'
  | 'cap'
  | 'daily_cap'
  | 'pace';

type Parts = {
  readonly advertiser: Pick<Advertiser, 'status' | 'remaining'>;
  readonly campaign?: Pick<
    Campaign,
    'status' | 'startsAt' | 'endsAt' | 'cap' | 'spent' | 'dailyCap' | 'spentToday' | 'hold' | 'pace'
  >;
  readonly ad?: Pick<Ad, 'status' | 'price'>;
  /** All ads of the campaign, instead of one. */
  readonly ads?: readonly Pick<Ad, 'status' | 'price'>[];
};

/**
 * Says whether a click of now would be charged: of an ad, or of the cheapest active one. Without both, it costs the
 * smallest amount. `nowMs`: Unix time.
 */
export function chargeStateOf({ advertiser, campaign, ad, ads }: Parts, nowMs: number): ChargeState {
  if (advertiser.status !== 'active') return `advertiser_${advertiser.status}`;
  if (campaign && campaign.status !== 'active') return `campaign_${campaign.status}`;
  if (ad && ad.status !== 'active') return `ad_${ad.status}`;
  const phase = campaign && phaseOf(campaign, nowMs);
  if (phase === 'not_started' || phase === 'ended') return phase;
  const price = ad ? microsOf(ad.price) : ads ? lowestPriceOf(ads) : 1n;
  if (price === null) return 'no_ad';
  const isShort = (limit: string | null, spent: string | null) =>
    limit !== null && microsOf(limit) - microsOf(spent ?? '0') < price;
  if (isShort(advertiser.remaining, null)) return 'budget';
  if (campaign && isShort(campaign.cap, campaign.spent)) return 'cap';
  if (campaign && isShort(campaign.dailyCap, campaign.spentToday)) return 'daily_cap';
  return campaign?.hold && campaign.pace?.isAhead ? 'pace' : 'charging';
}

/** The lowest price of the active ads, in micros; `null` if there are none. */
function lowestPriceOf(ads: NonNullable<Parts['ads']>): bigint | null {
  const prices = ads.filter(({ status }) => status === 'active').map(({ price }) => microsOf(price));
  return prices.reduce<bigint | null>(
    (least, price) => (least === null || price < least ? price : least),
    null,
  );
}

export type Phase = 'not_started' | 'running' | 'ended';

/** Where a campaign is in its dates. Its end is exclusive. */
export function phaseOf({ startsAt, endsAt }: Pick<Campaign, 'startsAt' | 'endsAt'>, nowMs: number): Phase {
  if (startsAt !== null && nowMs < Date.parse(startsAt)) return 'not_started';
  return endsAt !== null && nowMs >= Date.parse(endsAt) ? 'ended' : 'running';
}
