import { arrayLiteral, type Connection } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { dayStart } from '../partitions.ts';
import { inServerTimeZone } from '../server-time-zones.ts';
import type { KnownAd } from './balances.ts';

/** A day of a campaign with a daily cap, in the time zone of the advertiser. */
export type CampaignDay = {
  readonly campaignId: number;
  readonly advertiserId: number;
  /** Such as `2026-01-31`. */
  readonly day: string;
  /** The first instant of the day and that of the next day, in Unix ms. Days of 23 and 25 hours exist. */
  readonly beginsAt: number;
  readonly endsAt: number;
  readonly capMicros: bigint;
  readonly spentMicros: bigint;
  /** Whether ad servers send visitors to the fallback URL while the campaign is ahead of its plan. */
  readonly hold: boolean;
};

/** A sum of charges of one day of a campaign, in micros. */
export type DayCharge = { readonly of: CampaignDay; readonly micros: bigint };

const NO_DAYS: ReadonlyMap<number, readonly CampaignDay[]> = new Map();

/**
 * Reads the days of clicks whose campaigns have a daily cap, by campaign. Days without a cap are absent. Sends no query if no campaign of
 * the batch has ever had a daily cap. Call it under the advertisers' locks.
 * Throws `bad_time_zone` if the database server does not know the time zone of an advertiser.
 */
export async function readCampaignDays(
  connection: Connection,
  clicks: readonly ReadClick[],
  ads: ReadonlyMap<number, KnownAd>,
): Promise<ReadonlyMap<number, readonly CampaignDay[]>> {
  const campaigns = new Set<number>();
  for (const { campaignId, hasDailyCap } of ads.values()) if (hasDailyCap) campaigns.add(campaignId);
  if (campaigns.size === 0) return NO_DAYS;
  const { campaignIds, utcDays } = collectUtcDays(clicks, campaigns);
  if (campaignIds.length === 0) return NO_DAYS;
  const days = connection.query<CampaignDay>({
    name: 'read campaign days',
    // A UTC day overlaps two days of the time zone. PostgreSQL computes the days, so that they are those of the reports.
    text: `select campaign.id as "campaignId", campaign.advertiser_id as "advertiserId", batch.day::text,
       1000 * extract(epoch from day_start(batch.day, time_zone))::float8 as "beginsAt",
       1000 * extract(epoch from day_start(batch.day + 1, time_zone))::float8 as "endsAt",
       case when campaign_day.day is null then daily_cap_micros else campaign_day.cap_micros end as "capMicros",
       coalesce(campaign_day.spent_micros, 0) as "spentMicros", campaign.hold
     from (
       select distinct campaign.id, local.day::date from unnest($1::integer[], $2::float8[]) utc (campaign_id, ms)
       join campaign on campaign.id = utc.campaign_id join advertiser on advertiser.id = campaign.advertiser_id
       cross join lateral generate_series((to_timestamp(ms / 1000) at time zone time_zone)::date,
         (to_timestamp((ms + ${DAY_MS - 1}) / 1000) at time zone time_zone)::date, '1 day') local (day)
     ) batch
     join campaign using (id) join advertiser on advertiser.id = campaign.advertiser_id
     left join campaign_day on campaign_day.campaign_id = campaign.id and campaign_day.day = batch.day
     where batch.day >= daily_cap_since
       and case when campaign_day.day is null then daily_cap_micros else campaign_day.cap_micros end is not null`,
    values: [arrayLiteral(campaignIds), arrayLiteral(utcDays)],
  });
  const { rows } = await inServerTimeZone(days);
  // OpenWhisk's Node 20 has no Map.groupBy.
  const found = new Map<number, CampaignDay[]>();
  for (const row of rows) found.set(row.campaignId, [...(found.get(row.campaignId) ?? []), row]);
  return found;
}

/** The UTC days of the clicks of some campaigns, in Unix ms, each once for each campaign. */
function collectUtcDays(clicks: readonly ReadClick[], campaigns: ReadonlySet<number>) {
  const days = new Map<number, Set<number>>();
  for (const { click } of clicks) {
    if (!campaigns.has(click.campaignId)) continue;
    const day = dayStart(click.clickedAt);
    const found = days.get(click.campaignId);
    if (found === undefined) days.set(click.campaignId, new Set([day]));
    else found.add(day);
  }
  const campaignIds: number[] = [];
  const utcDays: number[] = [];
  for (const [campaignId, found] of days) {
    for (const day of found) {
      campaignIds.push(campaignId);
      utcDays.push(day);
    }
  }
  return { campaignIds, utcDays };
}

/** Adds charges to what the days of campaigns have spent. Call it under the advertisers' locks. */
export async function chargeCampaignDays(
  connection: Connection,
  charges: readonly DayCharge[],
): Promise<void> {
  if (charges.length === 0) return;
  await connection.query({
    name: 'charge campaign days',
    // Transactions can commit in another order than they began: the hour never goes back.
    text: `insert into campaign_day (campaign_id, day, cap_micros, spent_micros, charged_hour, spent_before_hour_micros)
     select charge.*, date_trunc('hour', now(), 'UTC'), 0 from unnest($1::integer[], $2::date[], $3::bigint[], $4::bigint[]) charge
     on conflict (campaign_id, day) do update set
       spent_micros = campaign_day.spent_micros + excluded.spent_micros,
       charged_hour = greatest(campaign_day.charged_hour, excluded.charged_hour),
       spent_before_hour_micros = case when campaign_day.charged_hour >= excluded.charged_hour
         then campaign_day.spent_before_hour_micros else campaign_day.spent_micros end`,
    values: [
      arrayLiteral(charges.map(({ of }) => of.campaignId)),
      arrayLiteral(charges.map(({ of }) => of.day)),
      arrayLiteral(charges.map(({ of }) => of.capMicros)),
      arrayLiteral(charges.map(({ micros }) => micros)),
    ],
  });
}
