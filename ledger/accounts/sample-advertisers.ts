import type { Connection, Pool } from '../../common/postgres/postgres.ts';

/** The sample advertisers: the last segment of the path of their page, and their name. */
export const SAMPLE_ADVERTISERS = [
  { slug: 'coffee', name: 'Sample Coffee' },
  { slug: 'shoes', name: 'Sample Shoes' },
  { slug: 'travel', name: 'Sample Travel' },
] as const;

export type SampleAdvertiser = (typeof SAMPLE_ADVERTISERS)[number];

/** Currency of the sample advertisers. */
export const SAMPLE_CURRENCY = 'USD';

/** Beginning of the paths of the sample pages. */
const SAMPLE_PATH = '/sample/';

/**
 * The URL template of a sample ad: a page of the ad server itself. It has no host, so the browser stays on the host and port of the link
 * (RFC 9110 §10.2.2).
 */
export function sampleTemplate(slug: SampleAdvertiser['slug']): string {
  return `${SAMPLE_PATH}${slug}?click={click_id}&ad={ad_id}`;
}

/**
 * The SQL condition of a sample ad. `parseUrlTemplate` accepts absolute URLs only, so no other ad leads to a page of the ad server. An ad
 * that gets another URL is no sample any more. The index `ad_sample` has this condition.
 */
const IS_SAMPLE = `ad.url_template like '${SAMPLE_PATH}%'`;

/** A sample ad that is charged for clicks, unless its budget or a cap is exhausted. */
export type SampleAd = {
  readonly adId: number;
  readonly advertiserId: number;
  readonly advertiserName: string;
};

/** Returns the sample ads that are active, with their campaign and advertiser, ordered by id. */
export async function listActiveSampleAds(database: Pool | Connection): Promise<SampleAd[]> {
  const { rows } = await database.query<SampleAd>(
    `select ad.id as "adId", ad.advertiser_id as "advertiserId", advertiser.name as "advertiserName"
     from ad join campaign on campaign.id = ad.campaign_id join advertiser on advertiser.id = ad.advertiser_id
     where ${IS_SAMPLE} and ad.status = 'active' and campaign.status = 'active' and advertiser.status = 'active' order by ad.id`,
  );
  return rows;
}

/** Whether there is an active sample ad. */
export async function hasActiveSamples(database: Pool | Connection): Promise<boolean> {
  return (await listActiveSampleAds(database)).length > 0;
}

/** Returns the ids of the advertisers that have sample ads, active or not. */
export async function readSampleAdvertiserIds(database: Pool | Connection): Promise<ReadonlySet<number>> {
  const { rows } = await database.query<{ id: number }>(
    `select distinct ad.advertiser_id as id from ad where ${IS_SAMPLE}`,
  );
  return new Set(rows.map(({ id }) => id));
}
