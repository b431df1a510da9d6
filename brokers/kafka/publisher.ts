import kafkajs, { type Admin, type Message, type Producer } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { TollwayError } from '../../common/errors.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { type BrokerRecord, CLICK_VERSION, isWatermarkKey } from '../../contract/click-event.ts';
import type { Publisher } from '../publisher.ts';
import { splitRecords } from '../split-records.ts';
import { explainKafka, openKafka, REQUEST_MS_MAX, readPartitions } from './client.ts';

const { CompressionTypes } = kafkajs;
const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  zstd: CompressionTypes.ZSTD,
} as const;

/**
 * Consecutive records that go to the same partition. Any partition is correct for any click, and few large record batches take less work
 * for client and broker than many small ones.
 */
const RUN_RECORDS = 250;
/**
 * Limits of one call. All of it can go to one partition as one record batch, and Kafka's default limit of a batch is 1 MB
 * (`message.max.bytes`). `overhead` is for the headers.
 */
const CALL = { records: 10_000, bytes: 700_000, overhead: 300 };
/** How long the list of partitions for watermarks is cached, in ms. */
const PARTITIONS_FRESH_MS = 30_000;

/**
 * CloudEvents in Kafka's binary mode; https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
 * The id is the record key, so a retry has the same id.
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
 * Publishes to Kafka; every in-sync replica acknowledges. The records of a rejected call can have been written once or several times. The
 * ledger drops the copies, so calls can run concurrently.
 */
export function createKafkaPublisher(config: Config, logger: Logger): Publisher {
  const { KAFKA_TOPIC: topic } = config;
  const kafka = openKafka(config, 'ad-server', logger);
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner: partitionByRuns,
    // One attempt: a retry of kafkajs skips each broker that answered the first attempt, even if it now leads a partition whose records
    // another broker refused, and reports them as published. The relay's retries send all records.
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
      for (const call of splitRecords(records, CALL)) await send(call.map(toMessage));
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

/** Throws if kafkajs has not sent some messages: it silently skips partitions that are unknown or have no leader. */
function assertWritten(messages: readonly Message[], partitions: ReadonlySet<number>): void {
  const unsent = messages.find(({ partition }) => partition === undefined || !partitions.has(partition));
  if (unsent === undefined) return;
  throw new TollwayError('kafka', `Partition ${unsent.partition} accepted no clicks: it has no leader`, {
    retryable: true,
  });
}

/** Assigns messages to partitions in runs, skipping partitions without a leader, and sets `partition` of each message. */
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
      const withLeader = partitionMetadata.filter(({ leader }) => leader >= 0);
      run += 1;
      count = 0;
      partition = withLeader[run % withLeader.length]?.partitionId ?? 0;
    }
    count += 1;
    message.partition = partition;
    return partition;
  };
}

/** Returns a function that connects the clients on its first call, and again after a failure. */
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
