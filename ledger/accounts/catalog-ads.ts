import type { Client, Pool } from '../../common/postgres/postgres.ts';
import { PLAN_JSON, type Plan, todayOfCampaign } from './pacing.ts';
import type { PassList } from './pass-list.ts';

/** The fields of an ad that a redirect needs. */
export type CatalogAd = {
  readonly id: number;
  readonly campaignId: number;
  readonly advertiserId: number;
  readonly priceMicros: number;
  readonly urlTemplate: string;
  /** The query parameters of clicks that are added to the URL. */
  readonly passParameters: PassList;
  /** Whether the ad, its campaign or its advertiser is paused or archived. */
  readonly paused: boolean;
  /** When the campaign starts, in Unix ms; `null` if it has no start. */
  readonly startsAt: number | null;
  /** When the campaign ends, in Unix ms; `null` if it has no end. */
  readonly endsAt: number | null;
  /** Until when its price exceeds the remaining budget or cap, in Unix ms; `Number.MAX_SAFE_INTEGER` until money is added. `null`: it does not. */
  readonly exhaustedUntil: number | null;
  /** Whether it is exhausted only because its campaign is ahead of its plan: clicks that are sent to the fallback URL are not charged. */
  readonly held: boolean;
  readonly fallbackUrl: string | null;
  /** The plan of a campaign with pacing; `paceAt` computes how much of it may be spent by now. */
  readonly pace: Plan | null;
};

/** Whether the budget is exhausted for an ad at a time in Unix ms. The clock ends it, so that a new day needs no notification. */
export function isExhausted({ exhaustedUntil }: CatalogAd, nowMs: number): boolean {
  return exhaustedUntil !== null && nowMs < exhaustedUntil;
}

/** Whether a time, in Unix ms, lies between the start and the end of the ad's campaign. */
export function isRunning({ startsAt, endsAt }: CatalogAd, timeMs: number): boolean {
  return (startsAt === null || timeMs >= startsAt) && (endsAt === null || timeMs < endsAt);
}

const SELECT_ADS = `select ad.id, ad.campaign_id as "campaignId", ad.advertiser_id as "advertiserId",
    ad.price_micros::float8 as "priceMicros", ad.url_template as "urlTemplate",
    ad.pass_parameters as "passParameters",
    case ad.exhausted_until when 'infinity' then ${Number.MAX_SAFE_INTEGER} else ceil(1000 * extract(epoch from ad.exhausted_until)) end::float8
      as "exhaustedUntil", ad.held,
    ad.status <> 'active' or campaign.status <> 'active' or advertiser.status <> 'active' as paused,
    extract(epoch from campaign.starts_at)::float8 * 1000 as "startsAt", extract(epoch from campaign.ends_at)::float8 * 1000 as "endsAt",
    campaign.fallback_url as "fallbackUrl", ${PLAN_JSON} as pace
  from ad join advertiser on advertiser.id = ad.advertiser_id join campaign on campaign.id = ad.campaign_id
  left join lateral (${todayOfCampaign("campaign.pacing <> 'none'")}) today on true`;

/** Returns up to `limit` ads with ids above `after`, ordered by id. */
export async function readCatalogPage(client: Client, after: number, limit: number): Promise<CatalogAd[]> {
  const { rows } = await client.query<CatalogAd>(`${SELECT_ADS} where ad.id > $1 order by ad.id limit $2`, [
    after,
    limit,
  ]);
  return rows;
}

/** Returns all ads of the given advertisers. */
export async function readAdsOfAdvertisers(
  client: Client,
  advertiserIds: readonly number[],
): Promise<CatalogAd[]> {
  const { rows } = await client.query<CatalogAd>(
    `${SELECT_ADS} where ad.advertiser_id = any($1::integer[])`,
    [advertiserIds],
  );
  return rows;
}

/** Returns an ad, or `undefined` if it does not exist. */
export async function readCatalogAd(pool: Pool, id: number): Promise<CatalogAd | undefined> {
  const { rows } = await pool.query<CatalogAd>(`${SELECT_ADS} where ad.id = $1`, [id]);
  return rows[0];
}
