import type { Connection } from '../common/postgres/postgres.ts';
import { ADS_CHANGED_CHANNEL } from './ads-changed.ts';
import { todayOfCampaign } from './pacing.ts';

/**
 * Sets `exhausted_until` of every ad whose price exceeds the remaining budget, cap or daily cap, or whose campaign is held, clears it where
 * the price fits again, and notifies the ad servers. A daily cap ends with the day, unless the price exceeds the cap of a whole day. It
 * notifies only if a value changed, because PostgreSQL serializes the commits of transactions that notify. Call it under the advertisers'
 * locks, after balances, caps, prices or a plan changed.
 */
export async function updateBudgetFlags(
  connection: Connection,
  advertiserIds: readonly number[],
): Promise<void> {
  if (advertiserIds.length === 0) return;
  await connection.query(
    `with limits as (
       select ad.id, case
         when ad.price_micros > least(advertiser.remaining_micros, campaign.cap_micros - campaign.spent_micros, today.cap_micros)
           then 'infinity'
         when ad.price_micros > today.cap_micros - today.spent_micros then today.ends_at
       end as until, case when today.hold and today.ahead_until > now() then today.ahead_until end as held_until
       from ad join advertiser on advertiser.id = ad.advertiser_id join campaign on campaign.id = ad.campaign_id
       left join lateral (${todayOfCampaign()}) today on true
       where ad.advertiser_id = any($1::integer[])
     ), due as (
       select id, coalesce(until, held_until) as until, until is null and held_until is not null as held from limits
     ), changed as (
       update ad set exhausted_until = due.until, held = due.held from due
       where ad.id = due.id
         and (due.until, due.held) is distinct from
           (case when ad.exhausted_until > now() then ad.exhausted_until end, ad.held and ad.exhausted_until > now())
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
