import type { Context } from 'aws-lambda';
import { FunctionHome } from './function-runtime.ts';
import type { BooksReport } from './report-reconciliation.ts';

const home = new FunctionHome('lambda-reconcile', process.env, 0);

/**
 * Asks the books, by a schedule: the answer's `problems`, and three metrics, say whether they need a person. The event
 * `{"deep": true}` has the ledger recounted row by row.
 */
export async function handler(event: { deep?: unknown } | null, context: Context): Promise<BooksReport> {
  const { reportBooks } = await import('./report-reconciliation.ts');
  const deadlineAt = performance.now() + context.getRemainingTimeInMillis();
  const deep = event?.deep === true;
  return home.during({ id: context.awsRequestId, deadlineAt }, (rooms, time) =>
    reportBooks(rooms, { ...time, deep }),
  );
}
