import type { BrokerRecord } from '../../contract/click-event.ts';

export const TOPIC = 'tollway-clicks';
export const PARTITIONS = 2;

/** A Kinesis event. https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html#services-kinesis-event-example */
export function kinesisEvent(records: readonly BrokerRecord[]) {
  return {
    Records: records.map(({ key, value }, index) => ({
      kinesis: {
        kinesisSchemaVersion: '1.0',
        partitionKey: key ?? 'none',
        sequenceNumber: sequenceNumber(index),
        data: value?.toString('base64'),
        approximateArrivalTimestamp: Date.now() / 1_000,
      },
      eventSource: 'aws:kinesis',
      eventVersion: '1.0',
      eventID: `shardId-000000000006:${sequenceNumber(index)}`,
      eventName: 'aws:kinesis:record',
      invokeIdentityArn: 'arn:aws:iam::123456789012:role/lambda-role',
      awsRegion: 'us-east-2',
      eventSourceARN: `arn:aws:kinesis:us-east-2:123456789012:stream/${TOPIC}`,
    })),
  };
}

/** Sequence numbers with the length of those of Kinesis, in ascending order. */
function sequenceNumber(index: number): string {
  return `4959033827149025660855969253836157109592157598913658${String(index).padStart(4, '0')}`;
}

/** A Kafka event with two partitions: the first half of the records is in the first. https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html */
export function kafkaEvent(records: readonly BrokerRecord[]) {
  const half = Math.ceil(records.length / PARTITIONS);
  const partition = (number: number) =>
    records.slice(number * half, (number + 1) * half).map(({ key, value }, index) => ({
      topic: TOPIC,
      partition: number,
      offset: 1_000 + index,
      timestamp: Date.now(),
      timestampType: 'CREATE_TIME',
      key: key === null ? undefined : Buffer.from(key).toString('base64'),
      value: value?.toString('base64'),
      headers: [{ ce_specversion: [...Buffer.from('1.0')] }],
    }));
  return {
    eventSource: 'aws:kafka',
    eventSourceArn: 'arn:aws:kafka:us-east-1:123456789012:cluster/clicks/abc-1',
    bootstrapServers: 'b-1.clicks.kafka.us-east-1.amazonaws.com:9092',
    records: Object.fromEntries(
      Array.from({ length: PARTITIONS }, (_, number) => [`${TOPIC}-${number}`, partition(number)]).filter(
        ([, some]) => some?.length !== 0,
      ),
    ),
  };
}
