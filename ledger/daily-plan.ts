import { TollwayError } from '../common/errors.ts';
import type { Connection } from '../common/postgres/postgres.ts';
import { singleRow } from './advertiser-lock.ts';
import { setDailyCap } from './daily-caps.ts';

/** How a campaign spends its daily cap: without a plan, evenly over the day, or evenly over the rest of the day from each hour on. */
export const PACINGS = ['none', 'even', 'rest'] as const;
export type Pacing = (typeof PACINGS)[number];

/** The fields to change; absent fields keep their values. `dailyCapMicros: null` removes the daily cap. */
export type DailyPlanChanges = {
  readonly dailyCapMicros?: bigint | null;
  readonly pacing?: Pacing;
  /** Whether ad servers send visitors to the fallback URL while the campaign is ahead of its plan. Off without pacing. */
  readonly hold?: boolean;
};

type DailyPlan = {
  readonly dailyCapMicros: bigint | null;
  readonly pacing: Pacing;
  readonly hold: boolean;
};

/**
 * Changes the daily cap and the pacing of a campaign. Throws `cap_below_spent`, and `bad_pacing` for pacing without a daily cap, and for
 * `hold` without pacing or without a fallback URL. Call it under the advertiser's lock, then update the budget flags and notify.
 */
export async function changeDailyPlan(
  connection: Connection,
  campaignId: number,
  changes: DailyPlanChanges,
): Promise<void> {
  const { rows } = await connection.query<DailyPlan & { fallbackUrl: string | null }>(
    `select daily_cap_micros as "dailyCapMicros", pacing, hold, fallback_url as "fallbackUrl" from campaign where id = $1`,
    [campaignId],
  );
  const { fallbackUrl, ...before } = singleRow(rows);
  const pacing = changes.pacing ?? before.pacing;
  const plan: DailyPlan = {
    dailyCapMicros: changes.dailyCapMicros === undefined ? before.dailyCapMicros : changes.dailyCapMicros,
    pacing,
    hold: changes.hold ?? (before.hold && pacing !== 'none'),
  };
  assertPossible(campaignId, plan, fallbackUrl);
  // The schema refuses pacing without a daily cap after each statement.
  if (pacing !== 'none') await setDailyCap(connection, campaignId, plan.dailyCapMicros);
  await connection.query('update campaign set pacing = $2, hold = $3 where id = $1', [
    campaignId,
    pacing,
    plan.hold,
  ]);
  if (pacing === 'none') await setDailyCap(connection, campaignId, plan.dailyCapMicros);
}

function assertPossible(campaignId: number, plan: DailyPlan, fallbackUrl: string | null): void {
  if (plan.pacing !== 'none' && plan.dailyCapMicros === null) {
    throw new TollwayError(
      'bad_pacing',
      `Expected a daily cap for pacing "${plan.pacing}", campaign ${campaignId} has none. Set --daily-cap, or --pacing none`,
    );
  }
  if (plan.hold && plan.pacing === 'none') {
    throw new TollwayError(
      'bad_pacing',
      `Expected pacing "even" or "rest" for --hold, campaign ${campaignId} has none. Set --pacing, or --no-hold`,
    );
  }
  if (plan.hold && fallbackUrl === null) {
    throw new TollwayError(
      'bad_pacing',
      `Expected a fallback URL for --hold, campaign ${campaignId} has none. Set --fallback-url, or --no-hold`,
    );
  }
}
