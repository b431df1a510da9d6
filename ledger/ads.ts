import { TollwayError } from '../common/errors.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';
import { singleRow, withAdvertiserLock } from './advertiser-lock.ts';
import type { Status } from './advertisers.ts';
import { notifyAdsChanged, updateBudgetFlags } from './budget-flag.ts';

export type Ad = {
  readonly id: number;
  readonly advertiserId: number;
  readonly campaignId: number;
  readonly priceMicros: bigint;
  readonly urlTemplate: string;
  readonly status: Status;
};

const AD_COLUMNS = `id, advertiser_id as "advertiserId", campaign_id as "campaignId", price_micros as "priceMicros",
  url_template as "urlTemplate", status`;

/** Creates an ad in a campaign. `priceMicros` is the price of a click in micros of the advertiser's currency. Throws `unknown_campaign`. */
export async function addAd(
  pool: Pool,
  campaignId: number,
  priceMicros: bigint,
  urlTemplate: string,
): Promise<Ad> {
  const { rows: campaigns } = await pool.query<{ advertiser_id: number }>(
    'select advertiser_id from campaign where id = $1',
    [campaignId],
  );
  const [campaign] = campaigns;
  if (!campaign)
    throw new TollwayError(
      'unknown_campaign',
      `Expected the id of a campaign in the database, got ${campaignId}`,
    );
  const advertiserId = campaign.advertiser_id;
  return withAdvertiserLock(pool, advertiserId, async (connection) => {
    const { rows } = await connection.query<Ad>(
      `insert into ad (campaign_id, advertiser_id, price_micros, url_template) values ($1, $2, $3, $4) returning ${AD_COLUMNS}`,
      [campaignId, advertiserId, priceMicros, urlTemplate],
    );
    await applyPriceChange(connection, advertiserId, priceMicros);
    return singleRow(rows);
  });
}

/** Returns all ads, ordered by id. */
export async function listAds(pool: Pool): Promise<Ad[]> {
  const { rows } = await pool.query<Ad>(`select ${AD_COLUMNS} from ad order by id`);
  return rows;
}

/** The fields of an ad to change; absent fields keep their values. */
export type AdChanges = {
  readonly priceMicros?: bigint;
  readonly urlTemplate?: string;
  readonly status?: Status;
};

/** Changes an ad's price, template or status. Throws `unknown_ad`. */
export async function updateAd(pool: Pool, id: number, changes: AdChanges): Promise<Ad> {
  const { rows: ads } = await pool.query<{ advertiser_id: number }>(
    'select advertiser_id from ad where id = $1',
    [id],
  );
  const [ad] = ads;
  if (!ad) throw new TollwayError('unknown_ad', `Expected the id of an ad in the database, got ${id}`);
  return withAdvertiserLock(pool, ad.advertiser_id, async (connection) => {
    const { rows } = await connection.query<Ad>(
      `update ad set price_micros = coalesce($2, price_micros), url_template = coalesce($3, url_template),
         status = coalesce($4, status)
       where id = $1 returning ${AD_COLUMNS}`,
      [id, changes.priceMicros ?? null, changes.urlTemplate ?? null, changes.status ?? null],
    );
    await applyPriceChange(connection, ad.advertiser_id, singleRow(rows).priceMicros);
    return singleRow(rows);
  });
}

async function applyPriceChange(
  connection: Connection,
  advertiserId: number,
  priceMicros: bigint,
): Promise<void> {
  await connection.query(
    'update advertiser set max_price_micros = greatest(max_price_micros, $2) where id = $1',
    [advertiserId, priceMicros],
  );
  await updateBudgetFlags(connection, [advertiserId]);
  await notifyAdsChanged(connection, advertiserId);
}

/**
 * Returns the ad with the highest id that belongs to none of `advertiserIds`. If all ads belong to them, returns the ad with the highest
 * id; `null` if there are no ads.
 */
export async function readAnyAd(
  connection: Connection,
  advertiserIds: readonly number[],
): Promise<{ id: number; campaignId: number; advertiserId: number; priceMicros: number } | null> {
  const { rows } = await connection.query<{
    id: number;
    campaignId: number;
    advertiserId: number;
    priceMicros: number;
  }>(
    `select id, campaign_id as "campaignId", advertiser_id as "advertiserId", price_micros::float8 as "priceMicros"
     from ad where id = coalesce((select max(id) from ad where advertiser_id <> all($1::integer[])), (select max(id) from ad))`,
    [advertiserIds],
  );
  return rows[0] ?? null;
}
