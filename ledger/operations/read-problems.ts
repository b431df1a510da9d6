import type { Pool } from '../../common/postgres/postgres.ts';
import {
  type LatestReconciliation,
  readLatestReconciliation,
} from '../reconciliation/latest-reconciliation.ts';
import { type CurrentProblem, currentProblems } from './current-problems.ts';
import { readEndingBudgets } from './ending-budgets.ts';
import { type OperationsState, readOperations } from './operations-state.ts';
import type { Component } from './part-numbers.ts';
import { judgeParts, type ReportingState, reportsOfOthers } from './reporting-state.ts';

/** What an operator watches, the latest reconciliation, and what is wrong now. */
export type WatchedState = {
  readonly state: OperationsState;
  /** `null`: no reconciliation has ended yet. */
  readonly books: LatestReconciliation | null;
  readonly problems: readonly CurrentProblem[];
};

/**
 * Reads the state of operations and finds what is wrong now. `expected`: components of which at least one process has to run. `ownReports`: what
 * this process knows from its own reports; `null` if it does not report.
 */
export async function readProblems(
  pool: Pool,
  expected: readonly Component[],
  ownReports: ReportingState | null = null,
): Promise<WatchedState> {
  const [read, budgets, books] = await Promise.all([
    readOperations(pool),
    readEndingBudgets(pool),
    readLatestReconciliation(pool),
  ]);
  const reports = ownReports ?? reportsOfOthers(read.asOf, read.parts);
  const state = { ...read, parts: judgeParts(read.parts, reports) };
  return { state, books, problems: currentProblems({ ...state, reports, expected, books, budgets }) };
}
