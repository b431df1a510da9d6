import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { parseJson } from '../../common/json.ts';
import type { ObjectLocation } from '../../common/s3.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readKafkaEvent } from './kafka-event.ts';
import { readKinesisEvent } from './kinesis-event.ts';
import { readS3Event } from './s3-event.ts';

/** The unsettled input of a failed invocation. */
export type FailedInvocation =
  /** All records of a batch. */
  | { readonly is: 'batch'; readonly records: readonly ReadRecord[] }
  /** Files of clicks. */
  | { readonly is: 'files'; readonly locations: readonly ObjectLocation[] }
  /** Metadata of a batch without its records: their number, and the time of the first, as Lambda wrote it. */
  | { readonly is: 'metadata'; readonly count: number | null; readonly since: string | null };

/**
 * Reads the record that Lambda sends to an on-failure destination. `name` is the object's, for errors. The record is that of an event
 * source mapping (https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html, …/kafka-on-failure.html), with the
 * event in `payload`: as text in a bucket, as an object in a Kafka topic, absent in SQS and SNS. Or it is that of an asynchronous
 * invocation (…/invocation-async-retain-records.html), with the event in `requestPayload`. Throws `bad_event`.
 */
export function readFailedInvocation(name: string, bytes: Buffer): FailedInvocation {
  const record = parse(name, 'the object', bytes.toString());
  // Every such record has this field; other JSON objects do not.
  if (!isObject(record) || !isObject(record.requestContext))
    throw badEvent(name, 'requestContext', "Lambda's record of a failed invocation", record);
  const { requestPayload, payload } = record;
  if (requestPayload !== undefined) return { is: 'files', locations: readS3Event(name, requestPayload) };
  if (payload === undefined || payload === null) return readMetadata(name, record);
  const event = typeof payload === 'string' ? parse(name, 'payload', payload) : payload;
  // Kafka events have an eventSource; in Kinesis events each record has one.
  const isKafka = isObject(event) && event.eventSource !== undefined;
  return { is: 'batch', records: (isKafka ? readKafkaEvent : readKinesisEvent)(name, event).records };
}

function parse(name: string, field: string, text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    // The message leaves the text out: it can hold data of visitors.
    const got = counted(text.length, 'character that is not', 'characters that are not');
    throw new TollwayError('bad_event', `${name}: ${field}: expected JSON, got ${got}`);
  }
}

function readMetadata(name: string, record: Record<string, unknown>): FailedInvocation {
  const { KinesisBatchInfo: kinesis, KafkaBatchInfo: kafka } = record;
  const info = kinesis ?? kafka;
  if (!isObject(info)) throw badEvent(name, 'payload', 'the event of a stream', record);
  const partitions = isObject(info.recordsInfo) ? Object.values(info.recordsInfo) : [];
  const times = [
    info.approximateArrivalOfFirstRecord,
    ...partitions.map((partition) => (isObject(partition) ? partition.firstRecordTimestamp : undefined)),
  ].filter((time) => typeof time === 'string' && !Number.isNaN(Date.parse(time)));
  return {
    is: 'metadata',
    count: typeof info.batchSize === 'number' ? info.batchSize : null,
    // All have the same ISO 8601 form, whose text order is the order of time.
    since: (times as string[]).sort()[0] ?? null,
  };
}
