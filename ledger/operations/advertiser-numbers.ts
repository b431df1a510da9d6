import type { Pool } from '../../common/postgres/postgres.ts';
import type { Status } from '../status.ts';

/** What the metrics of an advertiser show. Amounts in micros of its currency. */
export type AdvertiserNumbers = {
  readonly id: number;
  readonly name: string;
  readonly status: Status;
  readonly currency: string;
  readonly remainingMicros: bigint;
  readonly spentMicros: bigint;
  /** Whether the budget pays for none of the ads that it can be spent on. */
  readonly isExhausted: boolean;
  /** Clicks in the rollup since the beginning of the ledger, by outcome. */
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
};

/**
 * Returns all advertisers but archived ones and those of load tests: first the one of each currency that has spent the most, then the second
 * of each, and so on, because amounts of different currencies cannot be compared.
 */
export async function readAdvertiserNumbers(pool: Pool): Promise<AdvertiserNumbers[]> {
  const { rows } = await pool.query<AdvertiserNumbers>(
    `select id, name, status, currency, remaining_micros as "remainingMicros", spent_micros as "spentMicros", budget_exhausted as "isExhausted",
       coalesce(charged, 0)::float8 as charged, coalesce(over_budget, 0)::float8 as "overBudget", coalesce(invalid, 0)::float8 as invalid
     from (
       select *, row_number() over (partition by currency order by spent_micros desc, id) as place
       from advertiser where status <> 'archived' and not is_test
     ) ranked left join click_rollup_total on advertiser_id = id
     order by place, currency`,
  );
  return rows;
}
