import kafkajs, { type Admin, type Message, type Producer } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { TollwayError } from '../../common/errors.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { type BrokerRecord, CLICK_VERSION, isWatermarkKey } from '../../contract/click-event.ts';
import { cutRecords } from '../cut-records.ts';
import type { Publisher } from '../publisher.ts';
import { explainKafka, openKafka, REQUEST_MS_MAX, readPartitions } from './client.ts';

const { CompressionTypes } = kafkajs;
const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  zstd: CompressionTypes.ZSTD,
} as const;

/**
 * Neighbours that go to the same partition: charges commute, so no click has to go to a certain one, and few large record
 * batches cost both sides less than many small ones.
 */
const RUN_RECORDS = 250;
/**
 * One call: all of it may go to one partition, as one record batch, and by default Kafka takes none of more than 1 MB
 * (`message.max.bytes`). The headers take their part.
 */
const CALL = { records: 10_000, bytes: 700_000, overhead: 300 };
/** How long the list of partitions that watermarks go to is believed, in ms. */
const PARTITIONS_FRESH_MS = 30_000;

/**
 * CloudEvents in Kafka's binary mode; https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
 * The id is the record's key: the same through every retry, whatever the payload is.
 */
const HEADERS = {
  'content-type': Buffer.from('application/json'),
  ce_specversion: Buffer.from('1.0'),
  ce_source: Buffer.from('/tollway/ad-server'),
  ce_dataschema: Buffer.from(`urn:tollway:click:${CLICK_VERSION}`),
};
const CLICK_TYPE = Buffer.from('tollway.click');
const WATERMARK_TYPE = Buffer.from('tollway.watermark');

/**
 * Publishes to Kafka, acknowledged by every replica in sync. A rejected call may have been written all the same, once or more
 * often: idempotence is the database's, so calls may run concurrently.
 */
export function createKafkaPublisher(config: Config, logger: Logger): Publisher {
  const { KAFKA_TOPIC: topic } = config;
  const kafka = openKafka(config, 'ad-server', logger);
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner: partitionByRuns,
    // One attempt: a second one of kafkajs leaves out each broker that has answered the first, even if it now leads a partition
    // whose records were refused elsewhere, and calls them published. Our own attempts send all of it.
    retry: { retries: 0 },
  });
  const admin = kafka.admin();
  const connected = connectOnce([producer, admin]);
  let partitions: { ids: number[]; at: number } | null = null;

  const send = async (messages: Message[]) => {
    try {
      await connected();
      const compression = COMPRESSION[config.KAFKA_COMPRESSION];
      const written = await producer.send({
        topic,
        acks: -1,
        timeout: REQUEST_MS_MAX,
        compression,
        messages,
      });
      assertWritten(messages, new Set(written.map(({ partition }) => partition)));
    } catch (error) {
      throw explainKafka(error, config);
    }
  };
  const readIds = async () => {
    if (partitions === null || performance.now() - partitions.at > PARTITIONS_FRESH_MS) {
      await connected().catch((error: unknown) => {
        throw explainKafka(error, config);
      });
      partitions = { ids: await readPartitions(admin, config), at: performance.now() };
    }
    return partitions.ids;
  };
  return {
    publish: async (records) => {
      for (const some of cutRecords(records, CALL)) await send(some.map(toMessage));
      return [];
    },
    publishEverywhere: async (record) => {
      const ids = await readIds();
      await send(ids.map((partition) => ({ ...toMessage(record), partition })));
    },
    close: async () => {
      await Promise.allSettled([producer.disconnect(), admin.disconnect()]);
    },
  };
}

function toMessage({ key, value }: BrokerRecord): Message {
  const type = isWatermarkKey(key) ? WATERMARK_TYPE : CLICK_TYPE;
  return { key, value, headers: { ...HEADERS, ce_id: key ?? '', ce_type: type } };
}

/** kafkajs leaves out in silence what is for a partition that it does not know, or that has no leader. */
function assertWritten(messages: readonly Message[], partitions: ReadonlySet<number>): void {
  const left = messages.find(({ partition }) => partition === undefined || !partitions.has(partition));
  if (left === undefined) return;
  throw new TollwayError('kafka', `Partition ${left.partition} took no clicks: nobody leads it`, {
    retryable: true,
  });
}

/** Deals messages to partitions in runs, past those that have no leader; each is told where it goes. */
function partitionByRuns() {
  let count = 0;
  let run = Math.floor(Math.random() * 1_000);
  let partition: number | null = null;
  return ({
    message,
    partitionMetadata,
  }: {
    message: Message;
    partitionMetadata: { partitionId: number; leader: number }[];
  }): number => {
    if (message.partition !== undefined) return message.partition;
    if (partition === null || count === RUN_RECORDS) {
      const led = partitionMetadata.filter(({ leader }) => leader >= 0);
      run += 1;
      count = 0;
      partition = led[run % led.length]?.partitionId ?? 0;
    }
    count += 1;
    message.partition = partition;
    return partition;
  };
}

/** Connects when it is first needed, and again after a failure. */
function connectOnce(clients: readonly (Producer | Admin)[]): () => Promise<void> {
  let connecting: Promise<void> | null = null;
  return () => {
    connecting ??= Promise.all(clients.map((client) => client.connect())).then(
      () => {},
      (error: unknown) => {
        connecting = null;
        throw error;
      },
    );
    return connecting;
  };
}
