import { formatAmount } from '../common/money.ts';
import type { Connection } from '../common/postgres/postgres.ts';
import type { Ad } from '../ledger/accounts/ads.ts';
import { type Advertiser, readAdvertiser } from '../ledger/accounts/advertisers.ts';
import { type Campaign, PRICE_LIMITS, type PriceLimit, readCampaign } from '../ledger/accounts/campaigns.ts';

/**
 * Returns a warning if a limit is below the price of each active ad of a campaign, or of a given ad that is active: no click can be charged.
 * `null`: none is.
 */
export async function priceWarning(
  connection: Connection,
  campaign: Campaign,
  ad?: Ad,
): Promise<string | null> {
  const advertiser = await readAdvertiser(connection, campaign.advertiserId);
  if (campaign.priceAbove !== null) {
    const consequence = 'below the price of each of its active ads: no click can be charged.';
    return describe(campaign.priceAbove, campaign, advertiser, consequence);
  }
  if (ad?.status !== 'active') return null;
  const limit = PRICE_LIMITS.find(
    (one) => ad.priceMicros > (limitOf(one, campaign, advertiser) ?? ad.priceMicros),
  );
  if (limit === undefined) return null;
  return describe(
    limit,
    campaign,
    advertiser,
    `below the price of ad ${ad.id}: its clicks cannot be charged.`,
  );
}

/** The same for an ad that was added or changed. */
export async function adPriceWarning(connection: Connection, ad: Ad): Promise<string | null> {
  return priceWarning(connection, await readCampaign(connection, ad.campaignId), ad);
}

/** The amount of a limit, in micros; `null` without one. */
function limitOf(limit: PriceLimit, campaign: Campaign, { remainingMicros }: Advertiser): bigint | null {
  const { capMicros, spentMicros, dailyCapMicros } = campaign;
  switch (limit) {
    case 'cap':
      return capMicros;
    case 'daily_cap':
      return dailyCapMicros;
    case 'budget_left':
      return remainingMicros;
    case 'cap_left':
      return capMicros && capMicros - spentMicros;
    default:
      return limit satisfies never;
  }
}

function describe(
  limit: PriceLimit,
  campaign: Campaign,
  advertiser: Advertiser,
  consequence: string,
): string {
  const { id, name, currency } = campaign;
  const amount = `${formatAmount(limitOf(limit, campaign, advertiser) ?? 0n)} ${currency}`;
  const owner = `campaign ${id} (${name})`;
  const update = `To raise it: npx tollway campaign update ${id}`;
  switch (limit) {
    case 'cap':
      return `Warning: the cap of ${owner} is ${amount}, ${consequence} ${update} --cap <amount>`;
    case 'daily_cap':
      return `Warning: the daily cap of ${owner} is ${amount}, ${consequence} ${update} --daily-cap <amount>`;
    case 'cap_left':
      return `Warning: the cap of ${owner} has ${amount} left, ${consequence} ${update} --cap <amount>`;
    case 'budget_left':
      return (
        `Warning: the budget of advertiser ${advertiser.id} (${advertiser.name}) has ${amount} left, ${consequence.replace('each of its active ads', `each active ad of ${owner}`)} ` +
        `To add to it: npx tollway advertiser top-up ${advertiser.id} <amount>`
      );
    default:
      return limit satisfies never;
  }
}
