import type { KinesisStreamBatchResponse } from 'aws-lambda';
import type { ReadRecord } from '../../contract/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readBase64Record } from './base64.ts';

/** What Lambda is handed of one shard, in its order; https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html */
export type KinesisBatch = {
  readonly records: readonly ReadRecord[];
  /**
   * The partial batch response when as many records as `settled`, from the first on, are settled. Lambda moves its
   * checkpoint to the lowest sequence number that is named, and brings everything from there again. An empty list
   * says that all is done. https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
   */
  readonly responseAfter: (settled: number) => KinesisStreamBatchResponse;
};

/**
 * Reads the event of a Kinesis event source mapping. Throws `bad_event` where it is another service's, or where a record
 * has no place to come back to: then the whole batch comes again. What is wrong with a payload is the record's own.
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
  const { sequenceNumber, partitionKey, data } = kinesis;
  if (typeof sequenceNumber !== 'string' || sequenceNumber === '')
    throw badEvent(functionName, `${field}.kinesis.sequenceNumber`, 'a text', sequenceNumber);
  const key = typeof partitionKey === 'string' ? partitionKey : null;
  const place = { key, data, field: `${field}.kinesis.data` };
  return {
    sequenceNumber,
    record: readBase64Record(place, positionOf(eventSourceARN, eventID, sequenceNumber)),
  };
}

/** The place as the long-lived consumer names it: `<stream>/<shard>@<sequence number>`. */
function positionOf(arn: unknown, eventId: unknown, sequenceNumber: string): string {
  const stream = String(arn ?? '').split('/')[1] ?? 'stream';
  const shard = String(eventId ?? '').split(':')[0] || 'shard';
  return `${stream}/${shard}@${sequenceNumber}`;
}
