import type { KafkaMessage } from 'kafkajs';
import type { ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';

/** Reads the messages of a partition as records, at positions such as `clicks/3@1042`, published at their timestamps. */
export function readMessages(
  messages: readonly KafkaMessage[],
  topic: string,
  partition: number,
): ReadRecord[] {
  return messages.map(({ key, value, offset, timestamp }) =>
    readRecord({ key: key?.toString() ?? null, value }, `${topic}/${partition}@${offset}`, Number(timestamp)),
  );
}
