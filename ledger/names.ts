import type { Connection, Pool } from '../common/postgres/postgres.ts';

/** Names by id. */
export type Names = {
  readonly advertisers: ReadonlyMap<number, string>;
  readonly campaigns: ReadonlyMap<number, string>;
  readonly ads: ReadonlyMap<number, string>;
};

/** Returns the names of advertisers, campaigns and ads. Unknown ids, and those of ads without a name, are absent. */
export async function readNames(
  database: Pool | Connection,
  advertiserIds: readonly number[],
  campaignIds: readonly number[],
  adIds: readonly number[],
): Promise<Names> {
  const namesOf = async (table: 'advertiser' | 'campaign' | 'ad', ids: readonly number[]) => {
    if (ids.length === 0) return new Map<number, string>();
    const { rows } = await database.query<{ id: number; name: string }>(
      `select id, name from ${table} where id = any($1::integer[]) and name is not null`,
      [[...new Set(ids)]],
    );
    return new Map(rows.map(({ id, name }) => [id, name]));
  };
  return {
    advertisers: await namesOf('advertiser', advertiserIds),
    campaigns: await namesOf('campaign', campaignIds),
    ads: await namesOf('ad', adIds),
  };
}
