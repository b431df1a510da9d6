import type { Connection } from '../common/postgres/postgres.ts';
import { ADS_CHANGED_CHANNEL } from './ads-changed.ts';

/**
 * Sets or clears the budget-exhausted flag of every ad whose advertiser's budget or campaign's cap no longer pays for it, or
 * pays again, and tells the ad servers, on transitions only: a notification takes a lock of the whole database at
 * commit. To be called under the advertisers' locks, after balances or prices were changed.
 */
export async function updateBudgetFlags(
  connection: Connection,
  advertiserIds: readonly number[],
): Promise<void> {
  if (advertiserIds.length === 0) return;
  await connection.query(
    `with changed as (
       update ad set budget_exhausted = not ad.budget_exhausted
       from advertiser, campaign
       where ad.advertiser_id = any($1::integer[])
         and advertiser.id = ad.advertiser_id and campaign.id = ad.campaign_id
         and ad.budget_exhausted <> (ad.price_micros >
           least(advertiser.remaining_micros, campaign.cap_micros - campaign.spent_micros))
       returning ad.advertiser_id
     )
     select pg_notify($2, advertiser_id::text) from (select distinct advertiser_id from changed) changed_advertiser`,
    [advertiserIds, ADS_CHANGED_CHANNEL],
  );
}

/** Tells the ad servers that an advertiser's ads have changed in another way (price, template, status). */
export async function notifyAdsChanged(connection: Connection, advertiserId: number): Promise<void> {
  await connection.query('select pg_notify($1, $2)', [ADS_CHANGED_CHANNEL, String(advertiserId)]);
}
