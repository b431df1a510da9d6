import type { KinesisStreamBatchResponse } from 'aws-lambda';
import type { ReadRecord } from '../../contract/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readBase64Record } from './base64.ts';

/** A batch of one shard, in its order; https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html */
export type KinesisBatch = {
  readonly records: readonly ReadRecord[];
  /**
   * The partial batch response after the first `settled` records are settled. Lambda moves its checkpoint to the lowest sequence number
   * in it and delivers the records from there on again. An empty list completes the batch.
   * https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
   */
  readonly responseAfter: (settled: number) => KinesisStreamBatchResponse;
};

/**
 * Reads the event of a Kinesis event source mapping. Throws `bad_event` for an event of another service or a record without a sequence
 * number; Lambda then delivers the whole batch again. A record with a malformed payload becomes `unreadable`.
 */
export function readKinesisEvent(functionName: string, event: unknown): KinesisBatch {
  const given = isObject(event) ? event.Records : event;
  if (!Array.isArray(given)) {
    throw badEvent(
      functionName,
      'Records',
      'the records of a Kinesis stream',
      isObject(event) ? event : given,
    );
  }
  const read = given.map((record: unknown, index) => readOne(functionName, record, `Records[${index}]`));
  return {
    records: read.map(({ record }) => record),
    responseAfter: (settled) => {
      const next = read[settled];
      return { batchItemFailures: next === undefined ? [] : [{ itemIdentifier: next.sequenceNumber }] };
    },
  };
}

function readOne(functionName: string, given: unknown, field: string) {
  const source = isObject(given) ? (given.eventSource ?? given.EventSource) : given;
  if (!isObject(given) || source !== 'aws:kinesis')
    throw badEvent(functionName, `${field}.eventSource`, '"aws:kinesis"', source);
  const { kinesis, eventID, eventSourceARN } = given;
  if (!isObject(kinesis)) throw badEvent(functionName, `${field}.kinesis`, 'an object', kinesis);
  const { sequenceNumber, partitionKey, data, approximateArrivalTimestamp } = kinesis;
  if (typeof sequenceNumber !== 'string' || sequenceNumber === '')
    throw badEvent(functionName, `${field}.kinesis.sequenceNumber`, 'a text', sequenceNumber);
  const key = typeof partitionKey === 'string' ? partitionKey : null;
  const payload = { key, data, field: `${field}.kinesis.data` };
  return {
    sequenceNumber,
    record: readBase64Record(
      payload,
      positionOf(eventSourceARN, eventID, sequenceNumber),
      // In Unix seconds, with a fraction.
      Number(approximateArrivalTimestamp) * 1_000,
    ),
  };
}

/** The same position as the Kinesis source of the processor writes: `<stream>/<shard>@<sequence number>`. */
function positionOf(arn: unknown, eventId: unknown, sequenceNumber: string): string {
  const stream = String(arn ?? '').split('/')[1] ?? 'stream';
  const shard = String(eventId ?? '').split(':')[0] || 'shard';
  return `${stream}/${shard}@${sequenceNumber}`;
}
