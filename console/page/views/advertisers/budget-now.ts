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
  readonly tone: 'empty' | 'low' | undefined;
  readonly isSample: boolean;
};

/** The live numbers of an advertiser, or those that were read if there are none. Reads a signal: call it while rendering. */
export function budgetNow({ id, budget, spent, remaining }: Advertiser): BudgetNow {
  const live = budgets.value.get(id);
  if (live) {
    const tone =
      live.exhausted || Number(live.remaining) === 0 ? 'empty' : live.lowBudget ? 'low' : undefined;
    return { ...live, tone };
  }
  const tone = Number(remaining) === 0 ? 'empty' : undefined;
  return {
    ...{ budget, spent, remaining, tone },
    ...{ perHour: null, exhaustedAt: null, isSample: false },
  };
}
