import { TollwayError } from '../common/errors.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';

/** Limits an export or a report to the clicks of an advertiser, a campaign or a publisher, or to those that all of these share; a report also to those of an ad. */
export type ClickFilter = {
  readonly advertiserId?: number | undefined;
  readonly campaignId?: number | undefined;
  readonly publisher?: string | undefined;
};

/**
 * Throws `unknown_advertiser`, `unknown_campaign` or `unknown_ad` if the filter names one that does not exist, or that belongs to none of
 * `advertiserIds`. Any publisher can exist.
 */
export async function assertFilterExists(
  database: Pool | Connection,
  {
    advertiserId,
    campaignId,
    adId,
    advertiserIds,
  }: ClickFilter & {
    readonly adId?: number | undefined;
    readonly advertiserIds?: readonly number[] | null;
  },
): Promise<void> {
  for (const [table, owner, name, id] of [
    ['advertiser', 'id', 'an advertiser', advertiserId],
    ['campaign', 'advertiser_id', 'a campaign', campaignId],
    ['ad', 'advertiser_id', 'an ad', adId],
  ] as const) {
    if (id === undefined) continue;
    const { rowCount } = await database.query(
      `select from ${table} where id = $1 and ($2::integer[] is null or ${owner} = any($2))`,
      [id, advertiserIds ?? null],
    );
    if (rowCount === 0)
      throw new TollwayError(`unknown_${table}`, `Expected the id of ${name} in the database, got ${id}`);
  }
}
