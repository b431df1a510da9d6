import type { Connection } from '../common/postgres/postgres.ts';
import { ADS_CHANGED_CHANNEL } from './ads-changed.ts';

/**
 * Sets the budget-exhausted flag of every ad whose price exceeds the remaining budget or cap, clears it where the price fits again, and
 * notifies the ad servers. It notifies only if a flag changed, because PostgreSQL serializes the commits of transactions that notify.
 * Call it under the advertisers' locks, after balances or prices changed.
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

/** Notifies the ad servers, at commit, that ads of an advertiser changed (price, template, status). */
export async function notifyAdsChanged(connection: Connection, advertiserId: number): Promise<void> {
  await connection.query('select pg_notify($1, $2)', [ADS_CHANGED_CHANNEL, String(advertiserId)]);
}
