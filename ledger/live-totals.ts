import type { Pool } from '../common/postgres/postgres.ts';
import type { Status } from './list-filter.ts';
import { NIL_SPOOL_ID } from './spool-counters.ts';

/** Counts of clicks since the beginning of the ledger. They only grow, except where a redrive moves a click to another outcome. */
export type OutcomeTotals = {
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  /** 0 for single advertisers: a rejected record belongs to none. */
  readonly rejected: number;
  /** All clicks that were settled before this time are counted. */
  readonly asOf: Date;
};

export type SettledTotals = OutcomeTotals & {
  /** By the watermarks of the spools, which are up to `WATERMARK_INTERVAL_MS` old. */
  readonly accepted: number;
};

/** Reads how many clicks all spools have accepted and how many of them are settled. */
export async function readSettledTotals(pool: Pool): Promise<SettledTotals> {
  const { rows } = await pool.query<SettledTotals>(
    `select ${['accepted', 'charged', 'over_budget', 'invalid', 'rejected']
      .map(
        (count) =>
          `coalesce(sum(${count}), 0)::float8 as "${count === 'over_budget' ? 'overBudget' : count}"`,
      )
      .join(', ')}, statement_timestamp() as "asOf"
     from (
       select max(accepted) as accepted, sum(charged) as charged, sum(over_budget) as over_budget, sum(invalid) as invalid,
         sum(rejected) as rejected
       from (
         select coalesce(spool_id, $1) as spool_id, accepted, charged, over_budget, invalid, rejected from spool_counter
         union all select spool_id, accepted, charged, over_budget, invalid, rejected from spool_total
       ) counters group by spool_id
     ) spools`,
    [NIL_SPOOL_ID],
  );
  const [totals] = rows;
  if (!totals) throw new Error('Expected one row, got none');
  return totals;
}

/** Reads the clicks of some advertisers from `since` on, by the time of the click, from the rollup. */
export async function readAdvertiserTotals(
  pool: Pool,
  advertiserIds: readonly number[],
  since: Date,
): Promise<OutcomeTotals> {
  const countOf = (outcome: string) =>
    `coalesce(sum(clicks) filter (where outcome = '${outcome}'), 0)::float8`;
  const { rows } = await pool.query<OutcomeTotals>(
    `select ${countOf('charged')} as charged, ${countOf('over_budget')} as "overBudget", ${countOf('invalid')} as invalid,
       0 as rejected, (select rolled_to from click_rollup_state) as "asOf"
     from click_rollup where advertiser_id = any($1::integer[]) and quarter >= $2`,
    [advertiserIds, since],
  );
  const [totals] = rows;
  if (!totals) throw new Error('Expected one row, got none');
  return totals;
}

/** The budget of an advertiser. Amounts in micros of its currency. */
export type LiveBudget = {
  readonly id: number;
  readonly currency: string;
  readonly status: Status;
  readonly budgetMicros: bigint;
  readonly spentMicros: bigint;
  readonly remainingMicros: bigint;
};

/** Reads the budgets of some advertisers, or of all (`null`) but archived ones and those of load tests, by id. */
export async function readLiveBudgets(
  pool: Pool,
  advertiserIds: readonly number[] | null,
): Promise<LiveBudget[]> {
  const { rows } = await pool.query<LiveBudget>(
    `select id, currency, status, budget_micros as "budgetMicros", spent_micros as "spentMicros", remaining_micros as "remainingMicros"
     from advertiser where ($1::integer[] is null and status <> 'archived' and not is_test) or id = any($1) order by id`,
    [advertiserIds],
  );
  return rows;
}
