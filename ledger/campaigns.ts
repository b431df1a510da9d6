import type { Pool } from '../common/postgres/postgres.ts';
import { parseName } from '../common/text.ts';
import { singleRow, withAdvertiserLock } from './advertiser-lock.ts';

export type Campaign = {
  readonly id: number;
  readonly advertiserId: number;
  readonly name: string;
  readonly capMicros: bigint | null;
  readonly spentMicros: bigint;
  readonly fallbackUrl: string | null;
};

const CAMPAIGN_COLUMNS = `id, advertiser_id as "advertiserId", name, cap_micros as "capMicros", spent_micros as "spentMicros",
  fallback_url as "fallbackUrl"`;

/** Creates a campaign; `null` for no total cap or no fallback URL. Throws `bad_name`, `unknown_advertiser`. */
export function addCampaign(
  pool: Pool,
  advertiserId: number,
  name: string,
  capMicros: bigint | null,
  fallbackUrl: string | null,
): Promise<Campaign> {
  return withAdvertiserLock(pool, advertiserId, async (connection) => {
    const { rows } = await connection.query<Campaign>(
      `insert into campaign (advertiser_id, name, cap_micros, fallback_url) values ($1, $2, $3, $4) returning ${CAMPAIGN_COLUMNS}`,
      [advertiserId, parseName(name), capMicros, fallbackUrl],
    );
    return singleRow(rows);
  });
}

/** Returns all campaigns, ordered by id. */
export async function listCampaigns(pool: Pool): Promise<Campaign[]> {
  const { rows } = await pool.query<Campaign>(`select ${CAMPAIGN_COLUMNS} from campaign order by id`);
  return rows;
}
