import type { Pool } from '../common/postgres/postgres.ts';

/** A budget counts as nearly gone below this share of what was entered, as in the alert TollwayBudgetNearlyGone. */
export const NEARLY_GONE_SHARE = 0.05;
/** Most budgets that are returned. */
const BUDGETS_MAX = 100;

export type NearlyGoneBudget = {
  readonly advertiserId: number;
  readonly name: string;
  readonly currency: string;
  readonly remainingMicros: bigint;
};

/** Returns the active advertisers that were charged within a day and have nearly no budget left, the lowest share first. */
export async function readNearlyGoneBudgets(pool: Pool): Promise<NearlyGoneBudget[]> {
  const { rows } = await pool.query<NearlyGoneBudget>(
    `select id as "advertiserId", name, currency, remaining_micros as "remainingMicros" from advertiser
     where status = 'active' and not is_test and remaining_micros < $1::float8 * budget_micros and exists (
       select from click_rollup where advertiser_id = advertiser.id and quarter > now() - interval '1 day' and charged_micros > 0
     )
     order by remaining_micros::float8 / budget_micros, id limit $2`,
    [NEARLY_GONE_SHARE, BUDGETS_MAX],
  );
  return rows;
}
