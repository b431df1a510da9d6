import type { Pool } from '../../common/postgres/postgres.ts';
import { type Pace, PLAN_JSON, type Plan, paceAt, todayOfCampaign } from './pacing.ts';

/** A cap and how much of it is spent, in units of the currency. */
export type Cap = { readonly amount: number; readonly spent: number };

/** What the metrics of a campaign with a cap show. */
export type CampaignCaps = {
  readonly campaignId: number;
  readonly advertiserId: number;
  readonly name: string;
  readonly status: 'active' | 'paused';
  readonly currency: string;
  /** The cap of the campaign, and that of the present day in the time zone of the advertiser. */
  readonly total: Cap | null;
  readonly day: Cap | null;
  /** `null` without pacing. */
  readonly pace: Pace | null;
};

type Row = Omit<CampaignCaps, 'total' | 'day' | 'pace'> & {
  readonly cap: number | null;
  readonly spent: number;
  readonly dailyCap: number | null;
  readonly dailySpent: number | null;
  readonly plan: Plan | null;
  readonly now: Date;
};

/**
 * Returns the `limit` latest campaigns of some advertisers that have a cap or a daily cap, at the database's time, without archived and ended
 * ones.
 */
export async function readCampaignCaps(
  pool: Pool,
  advertiserIds: readonly number[],
  limit: number,
): Promise<CampaignCaps[]> {
  const { rows } = await pool.query<Row>(
    `select campaign.id as "campaignId", campaign.advertiser_id as "advertiserId", campaign.name, campaign.status, currency,
       campaign.cap_micros / 1e6::float8 as cap, campaign.spent_micros / 1e6::float8 as spent,
       today.cap_micros / 1e6::float8 as "dailyCap", today.spent_micros / 1e6::float8 as "dailySpent", ${PLAN_JSON} as plan, now() as now
     from (
       select * from campaign
       where advertiser_id = any($1) and (cap_micros is not null or daily_cap_micros is not null) and status <> 'archived' and phase <> 'ended'
       order by id desc limit $2
     ) campaign
     join advertiser on advertiser.id = campaign.advertiser_id left join lateral (${todayOfCampaign()}) today on true`,
    [advertiserIds, limit],
  );
  return rows.map(({ cap, spent, dailyCap, dailySpent, plan, now, ...campaign }) => ({
    ...campaign,
    total: cap === null ? null : { amount: cap, spent },
    day: dailyCap === null ? null : { amount: dailyCap, spent: dailySpent ?? 0 },
    pace: plan && paceAt(plan, now.getTime()),
  }));
}
