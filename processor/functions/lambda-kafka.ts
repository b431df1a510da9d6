import type { Context } from 'aws-lambda';
import { type KafkaBatchResponse, readKafkaEvent } from '../events/kafka-event.ts';
import { FunctionRuntime } from './function-runtime.ts';

const name = 'lambda-kafka';
const runtime = new FunctionRuntime(name, process.env);

/** Charges a batch of Kafka partitions. Reports records that are not settled in time as failed, and Lambda delivers them again. */
export async function handler(event: unknown, context: Context): Promise<KafkaBatchResponse> {
  const { records, responseAfter } = readKafkaEvent(name, event);
  const deadlineAt = performance.now() + context.getRemainingTimeInMillis();
  return responseAfter(await runtime.settle(records, { id: context.awsRequestId, deadlineAt }));
}
