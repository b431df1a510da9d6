import { TollwayError } from '../../common/errors.ts';

/** How a campaign spends its daily cap: without a plan, evenly over the day, or evenly over the rest of the day from each hour on. */
export const PACINGS = ['none', 'even', 'rest'] as const;
export type Pacing = (typeof PACINGS)[number];

/** The daily cap of a campaign and how it is spent. */
export type DailyPlan = {
  /** The most that the clicks of a day may cost, in the advertiser's time zone; `null` without a daily cap. */
  readonly dailyCapMicros: bigint | null;
  readonly pacing: Pacing;
  /** Whether ad servers send visitors to the fallback URL while the campaign is ahead of its plan. */
  readonly hold: boolean;
};

/**
 * Returns the plan of a campaign (`subject`, such as `campaign 7`) after changes; absent fields keep their values, and `hold` ends with the
 * pacing. Throws `bad_pacing` for pacing without a daily cap, and for `hold` without pacing or without a fallback URL.
 */
export function changePlan(
  subject: string,
  before: DailyPlan,
  changes: Partial<DailyPlan>,
  fallbackUrl: string | null,
): DailyPlan {
  const { dailyCapMicros, pacing } = { ...before, ...changes };
  const hold = changes.hold ?? (before.hold && pacing !== 'none');
  const refuse = (expected: string, remedy: string) => {
    throw new TollwayError('bad_pacing', `Expected ${expected}, ${subject} has none. ${remedy}`);
  };
  if (pacing !== 'none' && dailyCapMicros === null)
    refuse(`a daily cap for pacing "${pacing}"`, 'Set a daily cap, or pacing "none"');
  if (hold && pacing === 'none') refuse('pacing "even" or "rest" for hold', 'Set the pacing, or do not hold');
  if (hold && fallbackUrl === null) refuse('a fallback URL for hold', 'Set a fallback URL, or do not hold');
  return { dailyCapMicros, pacing, hold };
}
