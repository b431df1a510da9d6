import type { Context } from 'aws-lambda';
import { FunctionRuntime } from './function-runtime.ts';

const runtime = new FunctionRuntime('lambda-maintenance', process.env, 0);

/** Maintains the ledger on a schedule: creates partitions of coming days, merges counters, closes and drops days past retention. */
export async function handler(_event: unknown, context: Context): Promise<object> {
  const { maintainLedger } = await import('../maintenance-loop.ts');
  const deadlineAt = performance.now() + context.getRemainingTimeInMillis();
  return runtime.run({ id: context.awsRequestId, deadlineAt }, maintainLedger);
}
