import { arrayLiteral, type Connection } from '../../common/postgres/postgres.ts';

/** An ad that exists in the database. */
export type KnownAd = {
  readonly campaignId: number;
  readonly advertiserId: number;
  /** The rest of the campaign's cap, or `null` without a cap. */
  readonly capRemainingMicros: bigint | null;
  /** Whether the campaign has or had a daily cap. */
  readonly hasDailyCap: boolean;
};

/** Reads ads with the rest of their campaigns' caps. Unknown ids are absent. Call it under the advertisers' locks. */
export async function readAds(connection: Connection, ids: readonly number[]): Promise<Map<number, KnownAd>> {
  const { rows } = await connection.query<{
    id: number;
    campaign_id: number;
    advertiser_id: number;
    left: bigint | null;
    has_daily_cap: boolean;
  }>({
    name: 'read ads',
    text: `select ad.id, ad.campaign_id, ad.advertiser_id, campaign.cap_micros - campaign.spent_micros as left,
       campaign.daily_cap_since is not null as has_daily_cap
     from ad join campaign on campaign.id = ad.campaign_id where ad.id = any($1::integer[])`,
    values: [arrayLiteral(ids)],
  });
  return new Map(
    rows.map((row) => [
      row.id,
      {
        campaignId: row.campaign_id,
        advertiserId: row.advertiser_id,
        capRemainingMicros: row.left,
        hasDailyCap: row.has_daily_cap,
      },
    ]),
  );
}

/**
 * Decrements budgets: adds charges, in micros, to `spent_micros` of advertisers and of campaigns with a cap. The remaining budget is a
 * generated column and falls by the same amount. One relative update for each row.
 */
export async function chargeBalances(
  connection: Connection,
  byAdvertiser: ReadonlyMap<number, bigint>,
  byCappedCampaign: ReadonlyMap<number, bigint>,
): Promise<void> {
  for (const [table, sums] of [
    ['advertiser', byAdvertiser],
    ['campaign', byCappedCampaign],
  ] as const) {
    if (sums.size === 0) continue;
    await connection.query({
      name: `charge ${table}`,
      text: `update ${table} set spent_micros = ${table}.spent_micros + charge.micros
       from unnest($1::integer[], $2::bigint[]) charge (id, micros) where ${table}.id = charge.id`,
      values: [arrayLiteral([...sums.keys()]), arrayLiteral([...sums.values()])],
    });
  }
}
