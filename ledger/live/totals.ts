import type { Pool } from '../../common/postgres/postgres.ts';
import { NIL_SPOOL_ID } from '../spools/counters.ts';

/** Counts of clicks since the beginning of the ledger. They only grow, except where a redrive moves a click to another outcome. */
export type OutcomeTotals = {
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  /** 0 for single advertisers: a rejected record belongs to none. */
  readonly rejected: number;
  /** All clicks that were settled before this time are counted. */
  readonly asOf: Date;
  /** The time of the read, by the clock of the database. */
  readonly readAt: Date;
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
      .join(', ')}, statement_timestamp() as "asOf", statement_timestamp() as "readAt"
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

/**
 * Reads the clicks of some advertisers from each of some times on, by the time of the click, from the rollup: totals in the order of `sinces`,
 * all in one snapshot.
 */
export async function readAdvertiserTotals(
  pool: Pool,
  advertiserIds: readonly number[],
  sinces: readonly Date[],
): Promise<OutcomeTotals[]> {
  const countOf = (outcome: string) =>
    `coalesce(sum(clicks) filter (where outcome = '${outcome}'), 0)::float8`;
  const { rows } = await pool.query<OutcomeTotals>(
    `select ${countOf('charged')} as charged, ${countOf('over_budget')} as "overBudget", ${countOf('invalid')} as invalid,
       0 as rejected, (select rolled_to from click_rollup_state) as "asOf", statement_timestamp() as "readAt"
     from unnest($2::timestamptz[]) with ordinality wanted (since, place)
       left join click_rollup on advertiser_id = any($1::integer[]) and quarter >= since
     group by place order by place`,
    [advertiserIds, sinces],
  );
  return rows;
}
