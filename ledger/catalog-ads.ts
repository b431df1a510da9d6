import type { Client, Pool } from '../common/postgres/postgres.ts';

/** What a redirect has to know of an ad. */
export type CatalogAd = {
  readonly id: number;
  readonly campaignId: number;
  readonly advertiserId: number;
  readonly priceMicros: number;
  readonly urlTemplate: string;
  /** Its own status or its advertiser's. */
  readonly paused: boolean;
  /** What is left of the budget or cap no longer pays for it, as of the last notice. */
  readonly budgetExhausted: boolean;
  readonly fallbackUrl: string | null;
};

const SELECT_ADS = `select ad.id, ad.campaign_id as "campaignId", ad.advertiser_id as "advertiserId",
    ad.price_micros::float8 as "priceMicros", ad.url_template as "urlTemplate",
    ad.status = 'paused' or advertiser.status = 'paused' as paused, ad.budget_exhausted as "budgetExhausted", campaign.fallback_url as "fallbackUrl"
  from ad join advertiser on advertiser.id = ad.advertiser_id join campaign on campaign.id = ad.campaign_id`;

/** The ads whose ids are above `after`, in order of their ids, at most `limit`. */
export async function readCatalogPage(client: Client, after: number, limit: number): Promise<CatalogAd[]> {
  const { rows } = await client.query<CatalogAd>(`${SELECT_ADS} where ad.id > $1 order by ad.id limit $2`, [
    after,
    limit,
  ]);
  return rows;
}

/** All ads of some advertisers. */
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

/** One ad, or `undefined` if there is none. */
export async function readCatalogAd(pool: Pool, id: number): Promise<CatalogAd | undefined> {
  const { rows } = await pool.query<CatalogAd>(`${SELECT_ADS} where ad.id = $1`, [id]);
  return rows[0];
}
