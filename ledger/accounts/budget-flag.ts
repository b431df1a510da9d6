import type { Connection } from '../../common/postgres/postgres.ts';
import { emitBudgetState, emitCapReached } from '../webhooks/budget-events.ts';
import { ADS_CHANGED_CHANNEL } from './ads-changed.ts';
import { todayOfCampaign } from './pacing.ts';

/** What changed, one row for each event, and one for each notification of the ad servers. */
type Change = {
  readonly event: 'notified' | 'total' | 'daily' | 'budget.exhausted' | 'budget.available';
  /** Of the campaign for a cap, else of the advertiser. */
  readonly id: number;
  /** The lowest price of the ads that the budget can be spent on; `null` for the other rows. */
  readonly lowestPriceMicros: bigint | null;
};

/**
 * What the statement sets:
 * - `ad.exhausted_until` of every ad whose price exceeds the remaining budget, cap or daily cap, or whose campaign is held. A daily cap ends
 *   with the day, unless the price exceeds the cap of a whole day.
 * - `advertiser.budget_exhausted`: whether the remaining budget pays for none of the active ads of active campaigns that have not ended.
 * - `campaign.cap_reached` and `daily_cap_reached_on`: whether something is spent and the rest pays for none of the campaign's active ads. A
 *   new day needs no update. A transaction that began before midnight can see the day before: the day never goes back.
 *
 * An advertiser or a campaign without such ads keeps its state, so that pausing all ads is no event. While the database server does not know
 * the time zone of an advertiser, its campaigns keep the state of their day: `campaign_today` lacks them.
 */
const UPDATE = `
  with limits as materialized (
    select campaign.id as campaign_id, campaign.status = 'active' and campaign.phase <> 'ended' as can_spend,
      advertiser.remaining_micros, campaign.cap_micros, campaign.spent_micros, campaign.cap_reached, campaign.daily_cap_reached_on,
      campaign.daily_cap_micros, campaign.hold, today.day, today.ends_at, today.spent_micros as day_spent_micros, today.ahead_until,
      campaign.daily_cap_micros is not null and today.day is null as is_day_unknown
    from campaign join advertiser on advertiser.id = campaign.advertiser_id left join lateral (${todayOfCampaign()}) today on true
    where campaign.advertiser_id = any($1::integer[])
  ), due as materialized (
    select ad.id, ad.advertiser_id, ad.campaign_id, ad.price_micros, ad.status = 'active' as is_active, can_spend,
      ad.held and ad.exhausted_until > now() as was_held, case when ad.exhausted_until > now() then ad.exhausted_until end as was_until,
      case
        when ad.price_micros > least(remaining_micros, cap_micros - spent_micros, daily_cap_micros) then 'infinity'
        when ad.price_micros > daily_cap_micros - day_spent_micros then ends_at
        when is_day_unknown and not ad.held and ad.exhausted_until > now() then nullif(ad.exhausted_until, 'infinity')
      end as until,
      case
        when hold and ahead_until > now() then ahead_until
        when hold and is_day_unknown and ad.held and ad.exhausted_until > now() then ad.exhausted_until
      end as held_until
    from ad join limits using (campaign_id) where ad.advertiser_id = any($1::integer[])
  ), changed as (
    update ad set exhausted_until = coalesce(until, held_until), held = until is null and held_until is not null
    from due where ad.id = due.id
      and (coalesce(until, held_until), until is null and held_until is not null) is distinct from (was_until, was_held)
    returning ad.advertiser_id
  ), budgets as (
    update advertiser set budget_exhausted = lowest.micros > remaining_micros
    from (select advertiser_id, min(price_micros) as micros from due where is_active and can_spend group by 1) lowest
    where id = advertiser_id and budget_exhausted <> (lowest.micros > remaining_micros)
    returning id, budget_exhausted, lowest.micros
  ), reached as (
    select limits.*,
      case
        when cap_micros is null then false
        when lowest.micros is null then cap_reached
        else spent_micros > 0 and lowest.micros > cap_micros - spent_micros
      end as is_reached,
      case
        when is_day_unknown then daily_cap_reached_on
        when day is null then null
        when day_spent_micros > 0 and lowest.micros > daily_cap_micros - day_spent_micros then greatest(daily_cap_reached_on, day)
        when lowest.micros is null or daily_cap_reached_on <> day then daily_cap_reached_on
      end as reached_on
    from limits join (
      select campaign_id, min(price_micros) filter (where is_active) as micros from due group by 1
    ) lowest using (campaign_id)
  ), caps as (
    update campaign set cap_reached = is_reached, daily_cap_reached_on = reached_on
    from reached where id = campaign_id
      and (is_reached, reached_on) is distinct from (reached.cap_reached, reached.daily_cap_reached_on)
    returning id, is_reached and not reached.cap_reached as is_total,
      reached_on is not null and reached_on is distinct from reached.daily_cap_reached_on as is_daily
  )
  select 'total' as event, id, null::bigint as "lowestPriceMicros" from caps where is_total
  union all select 'daily', id, null from caps where is_daily
  union all select case when budget_exhausted then 'budget.exhausted' else 'budget.available' end, id, micros from budgets
  union all select 'notified' || pg_notify($2, advertiser_id::text)::text, advertiser_id, null
    from (select distinct advertiser_id from changed) changed_advertiser`;

/**
 * Updates the flags that say which ads, budgets and caps are exhausted, notifies the ad servers if a flag of an ad changed, and emits the
 * events of the other flags. One statement if nothing changes. It notifies only of changes, because PostgreSQL serializes the commits of
 * transactions that notify. Call it under the advertisers' locks, after balances, caps, prices, statuses, phases or a plan changed.
 */
export async function updateBudgetFlags(
  connection: Connection,
  advertiserIds: readonly number[],
): Promise<void> {
  if (advertiserIds.length === 0) return;
  const { rows } = await connection.query<Change>(UPDATE, [advertiserIds, ADS_CHANGED_CHANNEL]);
  for (const { event, id, lowestPriceMicros } of rows) {
    if (event === 'total' || event === 'daily') await emitCapReached(connection, id, event);
    else if (event !== 'notified') await emitBudgetState(connection, event, id, lowestPriceMicros ?? 0n);
  }
}

/** Notifies the ad servers, at commit, that ads of an advertiser changed (price, template, status). */
export async function notifyAdsChanged(connection: Connection, advertiserId: number): Promise<void> {
  await connection.query('select pg_notify($1, $2)', [ADS_CHANGED_CHANNEL, String(advertiserId)]);
}
