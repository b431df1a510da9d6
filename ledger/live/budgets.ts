import type { Pool } from '../../common/postgres/postgres.ts';
import type { Status } from '../status.ts';
import type { Spent } from './burn-rate.ts';

/** The budget of an advertiser. Amounts in micros of its currency. */
export type LiveBudget = {
  readonly id: number;
  readonly name: string;
  readonly currency: string;
  readonly status: Status;
  readonly budgetMicros: bigint;
  readonly spentMicros: bigint;
  readonly remainingMicros: bigint;
  /** Whether what remains pays for none of the ads that it can be spent on. */
  readonly isExhausted: boolean;
  /** What remained after the latest top-up or adjustment. */
  readonly levelMicros: bigint;
  /** The highest threshold of `budget.low`, in percent of the level; `null`: there is none. */
  readonly lowPercent: number | null;
};

/** Reads the budgets of some advertisers, or of all (`null`) but archived ones and those of load tests, by id. */
export async function readLiveBudgets(
  pool: Pool,
  advertiserIds: readonly number[] | null,
): Promise<LiveBudget[]> {
  const { rows } = await pool.query<LiveBudget>({
    name: 'live budgets',
    text: `select id, name, currency, status, budget_micros as "budgetMicros", spent_micros as "spentMicros",
         remaining_micros as "remainingMicros", budget_exhausted as "isExhausted", budget_level_micros as "levelMicros",
         low_budget_percents[1] as "lowPercent"
       from advertiser where ($1::integer[] is null and status <> 'archived' and not is_test) or id = any($1) order by id`,
    values: [advertiserIds],
  });
  return rows;
}

/** Whether what remains has reached the highest threshold of `budget.low` since the latest top-up or adjustment. */
export function isLow({ remainingMicros, levelMicros, lowPercent }: LiveBudget): boolean {
  if (lowPercent === null || levelMicros <= 0n) return false;
  return remainingMicros <= (levelMicros * BigInt(lowPercent)) / 100n;
}

/** Reads what each active advertiser but those of load tests has spent. */
export async function readSpent(pool: Pool): Promise<Spent[]> {
  const { rows } = await pool.query<Spent>(
    `select id, spent_micros as "spentMicros" from advertiser where status = 'active' and not is_test`,
  );
  return rows;
}
