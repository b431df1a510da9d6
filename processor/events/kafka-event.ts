import type { ReadRecord } from '../../contract/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readBase64Record } from './base64.ts';

const SOURCES = ['aws:kafka', 'SelfManagedKafka'];

/** https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html */
export type KafkaBatchResponse = {
  readonly batchItemFailures: readonly {
    /** A key of the event's `records`, and the first offset of it that has to come again. */
    readonly itemIdentifier: { readonly partition: string; readonly offset: number };
  }[];
};

/** What Lambda is handed of some partitions; https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html */
export type KafkaBatch = {
  /** Partition by partition, each in its order. */
  readonly records: readonly ReadRecord[];
  /**
   * The partial batch response when as many records as `settled`, from the first on, are settled: for each partition that
   * is not done, the lowest offset that is not.
   */
  readonly responseAfter: (settled: number) => KafkaBatchResponse;
};

/**
 * Reads the event of a Kafka event source mapping, Amazon's or one's own. Throws `bad_event` where it is another
 * service's, or where a record has no place to come back to: then the whole batch comes again.
 */
export function readKafkaEvent(functionName: string, event: unknown): KafkaBatch {
  const source = isObject(event) ? event.eventSource : undefined;
  if (!isObject(event) || typeof source !== 'string' || !SOURCES.includes(source)) {
    const expected = SOURCES.map((name) => `"${name}"`).join(' or ');
    throw badEvent(functionName, 'eventSource', expected, source ?? event);
  }
  const { records } = event;
  if (!isObject(records)) throw badEvent(functionName, 'records', 'an object of topic partitions', records);
  const read = Object.entries(records).flatMap(([partition, given]) => {
    if (!Array.isArray(given)) throw badEvent(functionName, `records["${partition}"]`, 'a list', given);
    return given.map((record: unknown, index) =>
      readOne(functionName, record, partition, `records["${partition}"][${index}]`),
    );
  });
  return {
    records: read.map(({ record }) => record),
    responseAfter: (settled) => {
      const lowest = new Map<string, number>();
      for (const { partition, offset } of read.slice(settled)) {
        lowest.set(partition, Math.min(offset, lowest.get(partition) ?? offset));
      }
      const failures = [...lowest].map(([partition, offset]) => ({ itemIdentifier: { partition, offset } }));
      return { batchItemFailures: failures };
    },
  };
}

function readOne(functionName: string, given: unknown, partition: string, field: string) {
  if (!isObject(given)) throw badEvent(functionName, field, 'a record', given);
  const { topic, partition: number, offset, key, value } = given;
  if (typeof offset !== 'number' || !Number.isSafeInteger(offset) || offset < 0)
    throw badEvent(functionName, `${field}.offset`, 'a whole number', offset);
  const text = typeof key === 'string' ? Buffer.from(key, 'base64').toString() : null;
  // The place as the long-lived consumer names it.
  const record = readBase64Record(
    { key: text, data: value, field: `${field}.value` },
    `${String(topic)}/${String(number)}@${offset}`,
  );
  return { partition, offset, record };
}
