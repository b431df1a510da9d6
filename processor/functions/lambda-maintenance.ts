import type { Context } from 'aws-lambda';
import { FunctionRuntime } from './function-runtime.ts';

const runtime = new FunctionRuntime('lambda-maintenance', process.env, 0);

/** Maintains the ledger, by a schedule: the days to come are made, counters merged, days that are over closed and dropped. */
export async function handler(_event: unknown, context: Context): Promise<object> {
  const { maintainLedger } = await import('../maintenance-loop.ts');
  const deadlineAt = performance.now() + context.getRemainingTimeInMillis();
  return runtime.during({ id: context.awsRequestId, deadlineAt }, maintainLedger);
}
