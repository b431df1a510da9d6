import type { Pool } from '../common/postgres/postgres.ts';
import { type Pace, PLAN_JSON, type Plan, paceAt } from './pacing.ts';

export type CampaignPace = {
  readonly campaignId: number;
  readonly advertiserId: number;
  readonly pace: Pace;
};

/**
 * Returns the paces of the `limit` campaigns with pacing that have the highest ids, at the database's time, without archived ones and those
 * of load tests.
 */
export async function readCampaignPaces(pool: Pool, limit: number): Promise<CampaignPace[]> {
  const { rows } = await pool.query<{ campaignId: number; advertiserId: number; plan: Plan; now: Date }>(
    `select campaign.id as "campaignId", advertiser.id as "advertiserId", ${PLAN_JSON} as plan, now() as now
     from campaign_today today join campaign on campaign.id = today.campaign_id join advertiser on advertiser.id = campaign.advertiser_id
     where today.pacing <> 'none' and campaign.status <> 'archived' and advertiser.status <> 'archived' and not advertiser.is_test
     order by campaign.id desc limit $1`,
    [limit],
  );
  return rows.map(({ campaignId, advertiserId, plan, now }) => ({
    campaignId,
    advertiserId,
    pace: paceAt(plan, now.getTime()),
  }));
}
