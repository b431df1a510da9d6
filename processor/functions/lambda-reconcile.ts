import type { Context } from 'aws-lambda';
import { FunctionRuntime } from './function-runtime.ts';
import type { ReconciliationReport } from './report-reconciliation.ts';

const runtime = new FunctionRuntime('lambda-reconcile', process.env, 0);

/**
 * Reconciles the ledger on a schedule. Returns the problems found and sets three metrics for alerts. The event `{"deep": true}` recounts
 * the ledger row by row.
 */
export async function handler(
  event: { deep?: unknown } | null,
  context: Context,
): Promise<ReconciliationReport> {
  const { reportReconciliation } = await import('./report-reconciliation.ts');
  const deadlineAt = performance.now() + context.getRemainingTimeInMillis();
  const deep = event?.deep === true;
  return runtime.run({ id: context.awsRequestId, deadlineAt }, (functionContext, time) =>
    reportReconciliation(functionContext, { ...time, deep }),
  );
}
