import { type Budget, budgets } from '../../live.ts';

/** The budgets of the sample advertisers. */
export const sampleBudgets = (): Budget[] => [...budgets.value.values()].filter(({ isSample }) => isSample);
