import type { Pool } from '../../common/postgres/postgres.ts';

/** A budget counts as nearly gone below this share of what was entered, as in the alert TollwayBudgetNearlyGone. */
export const NEARLY_GONE_SHARE = 0.05;
/** A budget counts as exhausted soon if it lasts less than this at its present rate, in s, as in the alert TollwayBudgetExhaustedSoon. */
export const EXHAUSTED_SOON_SECONDS = 3_600;
/** Most budgets that are returned. */
const BUDGETS_MAX = 100;

/** A budget that an advertiser should hear of. */
export type EndingBudget = {
  readonly advertiserId: number;
  readonly name: string;
  readonly currency: string;
  readonly remainingMicros: bigint;
  /** Below `NEARLY_GONE_SHARE` or exhausted, and charged within a day. */
  readonly isNearlyGone: boolean;
  /** Whether what remains pays for no ad. */
  readonly isExhausted: boolean;
  /** How long it lasts at the rate of this and the last quarter of an hour, in s, if less than `EXHAUSTED_SOON_SECONDS`; else `null`. */
  readonly secondsLeft: number | null;
};

/**
 * Returns the active advertisers whose budget is nearly gone, or exhausted within the hour; those with the least time left first, then those
 * with the lowest share. The sums by quarter of an hour say what was charged lately: they are some seconds behind.
 */
export async function readEndingBudgets(pool: Pool): Promise<EndingBudget[]> {
  const { rows } = await pool.query<EndingBudget>(
    `with lately as (
       select date_bin('15 minutes', now(), 'epoch') - interval '15 minutes' as since
     ), rate as (
       select advertiser_id, sum(charged_micros)::float8 / extract(epoch from now() - since)::float8 as per_second
       from lately, click_rollup where quarter >= since and charged_micros > 0 group by advertiser_id, since
     ), budget as (
       select id, name, currency, remaining_micros, remaining_micros::float8 / nullif(budget_micros, 0) as share,
         budget_exhausted, (remaining_micros < $1::float8 * budget_micros or budget_exhausted) and exists (
           select from click_rollup where advertiser_id = advertiser.id and quarter > now() - interval '1 day' and charged_micros > 0
         ) as is_nearly_gone,
         case when remaining_micros < $2::float8 * per_second and not budget_exhausted then remaining_micros / per_second end as seconds_left
       from advertiser left join rate on advertiser_id = id where status = 'active' and not is_test
     )
     select id as "advertiserId", name, currency, remaining_micros as "remainingMicros", is_nearly_gone as "isNearlyGone",
       budget_exhausted as "isExhausted", seconds_left as "secondsLeft"
     from budget where is_nearly_gone or seconds_left is not null order by seconds_left nulls last, share, id limit $3`,
    [NEARLY_GONE_SHARE, EXHAUSTED_SOON_SECONDS, BUDGETS_MAX],
  );
  return rows;
}
