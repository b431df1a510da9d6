import type { Context } from 'aws-lambda';
import { readS3Event } from '../events/s3-event.ts';
import { FunctionRuntime } from './function-runtime.ts';

const name = 'lambda-file';
const runtime = new FunctionRuntime(name, process.env);

/** Charges the clicks of files that were uploaded to a bucket. Throws if not all are settled in time; Lambda then invokes it again. */
export async function handler(event: unknown, context: Context): Promise<{ records: number }> {
  const { chargeFiles } = await import('../charge-file.ts');
  const invocation = {
    id: context.awsRequestId,
    deadlineAt: performance.now() + context.getRemainingTimeInMillis(),
  };
  const locations = readS3Event(name, event);
  return { records: await chargeFiles(name, locations, (records) => runtime.settle(records, invocation)) };
}
