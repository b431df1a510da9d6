import type { Context } from 'aws-lambda';
import { FunctionRuntime } from './function-runtime.ts';
import type { ReconciliationReport } from './report-reconciliation.ts';

const runtime = new FunctionRuntime('lambda-reconcile', process.env, 0);

/**
 * Asks the books, by a schedule: the answer's `problems`, and three metrics, say whether they need a person. The event
 * `{"deep": true}` has the ledger recounted row by row.
 */
export async function handler(
  event: { deep?: unknown } | null,
  context: Context,
): Promise<ReconciliationReport> {
  const { reportReconciliation } = await import('./report-reconciliation.ts');
  const deadlineAt = performance.now() + context.getRemainingTimeInMillis();
  const deep = event?.deep === true;
  return runtime.during({ id: context.awsRequestId, deadlineAt }, (rooms, time) =>
    reportReconciliation(rooms, { ...time, deep }),
  );
}
