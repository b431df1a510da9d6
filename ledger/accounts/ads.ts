import { TollwayError } from '../../common/errors.ts';
import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { prepared } from '../../common/postgres/prepared.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { parseName } from '../../common/text.ts';
import { withAdvertiserLock } from '../advertiser-lock.ts';
import { assertFilterExists } from '../click-filter.ts';
import { type ListFilter, listCondition } from '../list-filter.ts';
import type { Status } from '../status.ts';
import { notifyAdsChanged, updateBudgetFlags } from './budget-flag.ts';
import { readCampaign } from './campaigns.ts';
import { assertPassListFits, type PassList } from './pass-list.ts';

export type Ad = {
  readonly id: number;
  readonly advertiserId: number;
  readonly advertiserName: string;
  readonly campaignId: number;
  readonly campaignName: string;
  /** What people call it, 1–200 characters, not unique; `null` without a name. */
  readonly name: string | null;
  /** Of the advertiser. */
  readonly currency: string;
  readonly priceMicros: bigint;
  readonly urlTemplate: string;
  /** The query parameters of clicks that are passed on to the destination. */
  readonly passParameters: PassList;
  readonly status: Status;
};

const SELECT_ADS = `select ad.id, ad.advertiser_id as "advertiserId", advertiser.name as "advertiserName",
    ad.campaign_id as "campaignId", campaign.name as "campaignName", ad.name, advertiser.currency, ad.price_micros as "priceMicros", ad.url_template as "urlTemplate",
    ad.pass_parameters as "passParameters", ad.status
  from ad join campaign on campaign.id = ad.campaign_id join advertiser on advertiser.id = ad.advertiser_id`;

/**
 * Creates an ad in a campaign. `priceMicros` is the price of a click in micros of the advertiser's currency. `name`: `null` without one.
 * Throws `unknown_campaign`, `bad_name`, and `bad_pass_list` if the list names a parameter of the destination.
 */
export async function addAd(
  database: Pool | Connection,
  campaignId: number,
  priceMicros: bigint,
  urlTemplate: string,
  passParameters: PassList = [],
  name: string | null = null,
): Promise<Ad> {
  const parsedName = name === null ? null : parseName(name);
  assertPassListFits(passParameters, urlTemplate);
  const { advertiserId } = await readCampaign(database, campaignId);
  return withAdvertiserLock(database, advertiserId, async (connection) => {
    const { rows } = await connection.query<{ id: number }>(
      'insert into ad (campaign_id, advertiser_id, name, price_micros, url_template, pass_parameters) values ($1, $2, $3, $4, $5, $6) returning id',
      [campaignId, advertiserId, parsedName, priceMicros, urlTemplate, passParameters],
    );
    await applyPriceChange(connection, advertiserId, priceMicros);
    return readAd(connection, singleRow(rows).id);
  });
}

/** Returns the ads of a filter, ordered by id. Throws `unknown_advertiser`, `unknown_campaign`. */
export async function listAds(
  database: Pool | Connection,
  filter: Omit<ListFilter, 'externalId'> = {},
): Promise<Ad[]> {
  await assertFilterExists(database, filter);
  const { condition, page, values } = listCondition(['ad', 'campaign', 'advertiser'], filter);
  const { rows } = await database.query<Ad>(prepared(`${SELECT_ADS} where ${condition} ${page}`, values));
  return rows;
}

/** Returns an ad. Throws `unknown_ad`. */
export async function readAd(database: Pool | Connection, id: number): Promise<Ad> {
  // A named statement, because planning it takes longer than running it.
  const query = { name: 'read ad', text: `${SELECT_ADS} where ad.id = $1`, values: [id] };
  const { rows } = await database.query<Ad>(query);
  const [ad] = rows;
  if (!ad) throw unknownAd(id);
  return ad;
}

/** The error `unknown_ad`. */
export function unknownAd(id: number): TollwayError {
  return new TollwayError('unknown_ad', `Expected the id of an ad in the database, got ${id}`);
}

/** The fields of an ad to change; absent fields keep their values. */
export type AdChanges = {
  /** `null` removes it. */
  readonly name?: string | null;
  readonly priceMicros?: bigint;
  readonly urlTemplate?: string;
  readonly passParameters?: PassList;
  readonly status?: Status;
};

/**
 * Changes an ad's name, price, template, passed parameters or status. Throws `unknown_ad`, `bad_name`, and `bad_pass_list` if the
 * destination then has a parameter that the list names.
 */
export async function updateAd(database: Pool | Connection, id: number, changes: AdChanges): Promise<Ad> {
  // A name can be removed: `null` does not keep it, as it keeps the other fields.
  const { name } = changes;
  const newName = name === undefined || name === null ? null : parseName(name);
  const { advertiserId } = await readAd(database, id);
  return withAdvertiserLock(database, advertiserId, async (connection) => {
    await connection.query(
      `update ad set price_micros = coalesce($2, price_micros), url_template = coalesce($3, url_template),
         status = coalesce($4, status), pass_parameters = coalesce($5, pass_parameters),
         name = case when $6 then $7 else name end
       where id = $1`,
      [
        id,
        changes.priceMicros ?? null,
        changes.urlTemplate ?? null,
        changes.status ?? null,
        changes.passParameters ?? null,
        name !== undefined,
        newName,
      ],
    );
    const ad = await readAd(connection, id);
    if (changes.urlTemplate !== undefined || changes.passParameters !== undefined)
      assertPassListFits(ad.passParameters, ad.urlTemplate);
    await applyPriceChange(connection, advertiserId, ad.priceMicros);
    return ad;
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

/** An ad for a test charge. */
export type TestAd = {
  readonly id: number;
  readonly campaignId: number;
  readonly advertiserId: number;
  /** Whether the budget, the cap and the daily cap pay for a click of one micro. */
  readonly isPaid: boolean;
};

const PAYS = `advertiser.remaining_micros > 0 and coalesce(campaign.cap_micros > campaign.spent_micros, true)
  and (campaign.daily_cap_micros is null or exists (
    select from campaign_today today where today.campaign_id = campaign.id and today.cap_micros > today.spent_micros
  ))`;

/**
 * Returns the ad for a test charge, of those that fit best the one with the highest id: one whose budget pays for it, of another advertiser
 * than `advertiserId` and `locked`; one whose budget pays for it, of `advertiserId`; any of another advertiser; any. `null` if there are no ads.
 */
export async function readTestAd(
  connection: Connection,
  advertiserId: number,
  locked: readonly number[],
): Promise<TestAd | null> {
  const others = [advertiserId, ...locked];
  for (const [excluded, isPaid] of [
    [others, true],
    [locked, true],
    [others, false],
    [[], false],
  ] as const) {
    const { rows } = await connection.query<TestAd>(
      `select ad.id, ad.campaign_id as "campaignId", ad.advertiser_id as "advertiserId", $2::boolean as "isPaid"
       from ad join campaign on campaign.id = ad.campaign_id join advertiser on advertiser.id = ad.advertiser_id
       where ad.advertiser_id <> all($1::integer[]) and (not $2::boolean or (${PAYS})) order by ad.id desc limit 1`,
      [excluded, isPaid],
    );
    if (rows[0] !== undefined) return rows[0];
  }
  return null;
}
