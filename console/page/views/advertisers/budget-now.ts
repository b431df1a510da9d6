import { type BudgetTone, toneOf } from '../../budget-state.ts';
import type { Advertiser } from '../../entities.ts';
import { budgets } from '../../live.ts';

/** The budget of an advertiser as of now. */
export type BudgetNow = {
  readonly budget: string;
  readonly spent: string;
  readonly remaining: string;
  /** What is spent in an hour, at the rate of the last minutes; `null` if that is not known. */
  readonly perHour: string | null;
  /** When the budget is exhausted at this rate; `null` if it is not, or not known. */
  readonly exhaustedAt: string | null;
  readonly tone: BudgetTone;
  readonly isSample: boolean;
};

/** The live numbers of an advertiser, or those that were read if there are none. Reads a signal: call it while rendering. */
export function budgetNow({ id, budget, spent, remaining }: Advertiser): BudgetNow {
  const live = budgets.value.get(id);
  if (live) return { ...live, tone: toneOf(live) };
  return {
    ...{ budget, spent, remaining, tone: toneOf({ budget, remaining }) },
    ...{ perHour: null, exhaustedAt: null, isSample: false },
  };
}
