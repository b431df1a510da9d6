import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { parseJson } from '../../common/json.ts';
import type { ObjectLocation } from '../../common/s3.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readKafkaEvent } from './kafka-event.ts';
import { readKinesisEvent } from './kinesis-event.ts';
import { readS3Event } from './s3-event.ts';

/** What a failed invocation had been given, and nobody has settled. */
export type FailedInvocation =
  /** A batch of a stream, whole. */
  | { readonly is: 'batch'; readonly records: readonly ReadRecord[] }
  /** Files that were to be charged. */
  | { readonly is: 'files'; readonly locations: readonly ObjectLocation[] }
  /** Only word of a batch: how many records, and when the first of them came, as the destination says it. */
  | { readonly is: 'word'; readonly count: number | null; readonly since: string | null };

/**
 * Reads what Lambda leaves of an invocation that it gave up, `name` being the object's: the record of an event source mapping
 * (https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html, …/kafka-on-failure.html), where a bucket gets
 * the event as text in `payload`, a Kafka topic as an object, and queues and topics of Amazon get none; or that of
 * an asynchronous invocation (…/invocation-async-retain-records.html), with the event in `requestPayload`. Throws `bad_event`.
 */
export function readFailedInvocation(name: string, bytes: Buffer): FailedInvocation {
  const record = parse(name, 'the object', bytes.toString());
  // Nearly any JSON object is none of this: what tells is which call failed, and why.
  if (!isObject(record) || !isObject(record.requestContext))
    throw badEvent(name, 'requestContext', "Lambda's record of a failed invocation", record);
  const { requestPayload, payload } = record;
  if (requestPayload !== undefined) return { is: 'files', locations: readS3Event(name, requestPayload) };
  if (payload === undefined || payload === null) return readWord(name, record);
  const event = typeof payload === 'string' ? parse(name, 'payload', payload) : payload;
  // Kafka's events name their source, Kinesis' records do.
  const isKafka = isObject(event) && event.eventSource !== undefined;
  return { is: 'batch', records: (isKafka ? readKafkaEvent : readKinesisEvent)(name, event).records };
}

function parse(name: string, field: string, text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    // Not what it is: it may be what a visitor sent.
    const got = counted(text.length, 'character that is not', 'characters that are not');
    throw new TollwayError('bad_event', `${name}: ${field}: expected JSON, got ${got}`);
  }
}

function readWord(name: string, record: Record<string, unknown>): FailedInvocation {
  const { KinesisBatchInfo: kinesis, KafkaBatchInfo: kafka } = record;
  const info = kinesis ?? kafka;
  if (!isObject(info)) throw badEvent(name, 'payload', 'the event of a stream', record);
  const partitions = isObject(info.recordsInfo) ? Object.values(info.recordsInfo) : [];
  const times = [
    info.approximateArrivalOfFirstRecord,
    ...partitions.map((partition) => (isObject(partition) ? partition.firstRecordTimestamp : undefined)),
  ].filter((time) => typeof time === 'string' && !Number.isNaN(Date.parse(time)));
  return {
    is: 'word',
    count: typeof info.batchSize === 'number' ? info.batchSize : null,
    // All are of one form, in which the earlier text is the earlier time.
    since: (times as string[]).sort()[0] ?? null,
  };
}
