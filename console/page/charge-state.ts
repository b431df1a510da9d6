import { microsOf, restOf } from './amounts.ts';
import type { Ad, Advertiser, Campaign } from './entities.ts';

/** The price of a click is above a limit that has something left. */
type PriceState =
  | 'price_above_cap'
  | 'price_above_daily_cap'
  | 'price_above_budget_left'
  | 'price_above_cap_left'
  | 'price_above_day_left';

/** Whether clicks are charged, or what prevents it. */
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

/** `price`: what a click costs. `limit`: the amount that it is above. */
export type Charge =
  | { readonly state: ChargeState }
  | { readonly state: PriceState; readonly price: string; readonly limit: string };

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

/** The smallest amount. */
const LEAST = '0.000001';

/**
 * Says whether a click of now would be charged: of an ad, or of the cheapest active one. Without both, it costs the
 * smallest amount. What only a change of a setting ends comes before what a top-up or the next day ends. `nowMs`: Unix time.
 */
export function chargeOf({ advertiser, campaign, ad, ads }: Parts, nowMs: number): Charge {
  if (advertiser.status !== 'active') return { state: `advertiser_${advertiser.status}` };
  if (campaign && campaign.status !== 'active') return { state: `campaign_${campaign.status}` };
  if (ad && ad.status !== 'active') return { state: `ad_${ad.status}` };
  const phase = campaign && phaseOf(campaign, nowMs);
  if (phase === 'not_started' || phase === 'ended') return { state: phase };
  const price = ad ? ad.price : ads ? lowestPriceOf(ads) : LEAST;
  if (price === null) return { state: 'no_ad' };
  const isAhead = campaign?.hold && campaign.pace?.isAhead;
  return shortageOf(price, advertiser, campaign) ?? { state: isAhead ? 'pace' : 'charging' };
}

/** Which limit is too low for a price, in the order in which the processor checks them; `null`: none. */
function shortageOf(
  price: string,
  { remaining }: Parts['advertiser'],
  campaign: Parts['campaign'],
): Charge | null {
  const { cap = null, spent = null, dailyCap = null, spentToday = null } = campaign ?? {};
  const above = (state: PriceState, limit: string | null) =>
    isAbove(price, limit) ? { state, price, limit: limit ?? '' } : null;
  const short = (exhausted: ChargeState, state: PriceState, left: string | null) =>
    left !== null && microsOf(left) <= 0n ? { state: exhausted } : above(state, left);
  return (
    above('price_above_cap', cap) ??
    above('price_above_daily_cap', dailyCap) ??
    short('budget', 'price_above_budget_left', remaining) ??
    short('cap', 'price_above_cap_left', cap && restOf(cap, spent ?? '0')) ??
    short('daily_cap', 'price_above_day_left', dailyCap && restOf(dailyCap, spentToday ?? '0'))
  );
}

/** Whether an amount is above a limit; also one that somebody enters, which may be no amount yet. `null`: no limit. */
export function isAbove(amount: string, limit: string | null): boolean {
  const [entered, most] = [amount.trim(), limit?.trim() ?? ''];
  return AMOUNT.test(entered) && AMOUNT.test(most) && microsOf(entered) > microsOf(most);
}

const AMOUNT = /^\d+(\.\d{1,6})?$/;

/** Whether an entered text is an amount. */
export const isAmount = (text: string): boolean => AMOUNT.test(text.trim());

/** The lowest price of the active ads; `null` if there are none. */
function lowestPriceOf(ads: NonNullable<Parts['ads']>): string | null {
  const prices = ads.filter(({ status }) => status === 'active').map(({ price }) => price);
  return prices.reduce<string | null>(
    (least, price) => (least === null || microsOf(price) < microsOf(least) ? price : least),
    null,
  );
}

export type Phase = 'not_started' | 'running' | 'ended';

/** Where a campaign is in its dates. Its end is exclusive. */
export function phaseOf({ startsAt, endsAt }: Pick<Campaign, 'startsAt' | 'endsAt'>, nowMs: number): Phase {
  if (startsAt !== null && nowMs < Date.parse(startsAt)) return 'not_started';
  return endsAt !== null && nowMs >= Date.parse(endsAt) ? 'ended' : 'running';
}
