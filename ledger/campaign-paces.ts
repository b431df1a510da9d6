import type { Pool } from '../common/postgres/postgres.ts';
import { type Pace, PLAN_JSON, type Plan, paceAt } from './pacing.ts';

export type CampaignPace = {
  readonly campaignId: number;
  readonly advertiserId: number;
  readonly pace: Pace;
};

/** Returns the paces of the `limit` campaigns with pacing that have the highest ids, at the database's time. */
export async function readCampaignPaces(pool: Pool, limit: number): Promise<CampaignPace[]> {
  const { rows } = await pool.query<{ campaignId: number; advertiserId: number; plan: Plan; now: Date }>(
    `select campaign_id as "campaignId", advertiser_id as "advertiserId", ${PLAN_JSON} as plan, now() as now
     from campaign_today today where pacing <> 'none' order by campaign_id desc limit $1`,
    [limit],
  );
  return rows.map(({ campaignId, advertiserId, plan, now }) => ({
    campaignId,
    advertiserId,
    pace: paceAt(plan, now.getTime()),
  }));
}
