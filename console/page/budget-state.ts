import type { Budget } from './live.ts';

/** `empty`: exhausted. `low`: below a threshold. */
export type BudgetTone = 'empty' | 'low' | undefined;

type Numbers = Pick<Budget, 'budget' | 'remaining'> & Partial<Pick<Budget, 'exhausted' | 'lowBudget'>>;

/**
 * How a budget is shown, in every view. It is exhausted if what is left pays for none of the ads, or if nothing is left; but not without
 * a budget.
 */
export function toneOf({ budget, remaining, exhausted = false, lowBudget = false }: Numbers): BudgetTone {
  if (exhausted || (Number(remaining) <= 0 && Number(budget) > 0)) return 'empty';
  return lowBudget ? 'low' : undefined;
}

/** The order of budgets: the exhausted ones, those that run dry first, then by name. */
export function byExhaustion(a: Budget, b: Budget): number {
  const rank = (budget: Budget) => {
    if (toneOf(budget) === 'empty') return 0;
    return budget.exhaustedAt === null ? Number.POSITIVE_INFINITY : Date.parse(budget.exhaustedAt);
  };
  const [left, right] = [rank(a), rank(b)];
  // Two that never run dry are equal; their difference would not be a number.
  return left === right ? a.name.localeCompare(b.name) : left - right;
}
