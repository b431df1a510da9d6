import type { Context } from 'aws-lambda';
import { readS3Event } from '../events/s3-event.ts';
import { FunctionRuntime } from './function-runtime.ts';

const name = 'lambda-file';
const runtime = new FunctionRuntime(name, process.env);

/** Charges the clicks of files that were put into a bucket. What was not done in time is done when the event comes again. */
export async function handler(event: unknown, context: Context): Promise<{ records: number }> {
  const { chargeFiles } = await import('../charge-file.ts');
  const invocation = {
    id: context.awsRequestId,
    deadlineAt: performance.now() + context.getRemainingTimeInMillis(),
  };
  const places = readS3Event(name, event);
  return { records: await chargeFiles(name, places, (some) => runtime.settle(some, invocation)) };
}
