import type { ReadRecord } from '../../contract/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readBase64Record } from './base64.ts';

const SOURCES = ['aws:kafka', 'SelfManagedKafka'];

/** https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html */
export type KafkaBatchResponse = {
  readonly batchItemFailures: readonly {
    /** A key of the event's `records`, and the first offset that Lambda must deliver again. */
    readonly itemIdentifier: { readonly partition: string; readonly offset: number };
  }[];
};

/** A batch of one or more partitions; https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html */
export type KafkaBatch = {
  /** The records of each partition in their order, one partition after the other. */
  readonly records: readonly ReadRecord[];
  /** The partial batch response after the first `settled` records are settled: the lowest unsettled offset of each partition. */
  readonly responseAfter: (settled: number) => KafkaBatchResponse;
};

/**
 * Reads the event of an event source mapping for Amazon MSK or self-managed Kafka. Throws `bad_event` for an event of another service
 * or a record without an offset; Lambda then delivers the whole batch again.
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
  const { topic, partition: number, offset, timestamp, key, value } = given;
  if (typeof offset !== 'number' || !Number.isSafeInteger(offset) || offset < 0)
    throw badEvent(functionName, `${field}.offset`, 'a whole number', offset);
  const text = typeof key === 'string' ? Buffer.from(key, 'base64').toString() : null;
  // The same position as the Kafka source of the processor writes.
  const record = readBase64Record(
    { key: text, data: value, field: `${field}.value` },
    `${String(topic)}/${String(number)}@${offset}`,
    Number(timestamp),
  );
  return { partition, offset, record };
}
