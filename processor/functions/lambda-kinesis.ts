import type { Context, KinesisStreamBatchResponse } from 'aws-lambda';
import { readKinesisEvent } from '../events/kinesis-event.ts';
import { FunctionRuntime } from './function-runtime.ts';

const name = 'lambda-kinesis';
const runtime = new FunctionRuntime(name, process.env);

/** Charges a batch of a Kinesis shard. Reports records that are not settled in time as failed, and Lambda delivers them again. */
export async function handler(event: unknown, context: Context): Promise<KinesisStreamBatchResponse> {
  const { records, responseAfter } = readKinesisEvent(name, event);
  const deadlineAt = performance.now() + context.getRemainingTimeInMillis();
  return responseAfter(await runtime.settle(records, { id: context.awsRequestId, deadlineAt }));
}
