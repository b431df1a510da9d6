import type { Pool } from '../common/postgres/postgres.ts';

/** Names by id. */
export type Names = {
  readonly advertisers: ReadonlyMap<number, string>;
  readonly campaigns: ReadonlyMap<number, string>;
};

/** Returns the names of advertisers and campaigns. Unknown ids are absent. */
export async function readNames(
  pool: Pool,
  advertiserIds: readonly number[],
  campaignIds: readonly number[],
): Promise<Names> {
  const namesOf = async (table: 'advertiser' | 'campaign', ids: readonly number[]) => {
    if (ids.length === 0) return new Map<number, string>();
    const { rows } = await pool.query<{ id: number; name: string }>(
      `select id, name from ${table} where id = any($1::integer[])`,
      [[...new Set(ids)]],
    );
    return new Map(rows.map(({ id, name }) => [id, name]));
  };
  return {
    advertisers: await namesOf('advertiser', advertiserIds),
    campaigns: await namesOf('campaign', campaignIds),
  };
}
