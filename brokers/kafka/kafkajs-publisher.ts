import kafkajs, { type Admin, type Message, type Producer } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { TollwayError } from '../../common/errors.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { type BrokerRecord, encodedTraceparent, isWatermarkKey } from '../../contract/click-event.ts';
import type { Publisher } from '../publisher.ts';
import { splitRecords } from '../split-records.ts';
import { openKafka, readPartitions } from './client.ts';
import { CLICK_TYPE, HEADERS, ID, TRACEPARENT, TYPE, WATERMARK_TYPE } from './cloud-event.ts';
import { REQUEST_MS_MAX } from './connection-settings.ts';
import { explainKafka } from './explain.ts';
import { PartitionRuns } from './partition-runs.ts';

const { CompressionTypes } = kafkajs;
const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  zstd: CompressionTypes.ZSTD,
} as const;

/**
 * Limits of one call. All of it can go to one partition as one record batch, and Kafka's default limit of a batch is 1 MB
 * (`message.max.bytes`). `overhead` is for the headers.
 */
const CALL = { records: 10_000, bytes: 700_000, overhead: 400 };
/** How long the list of partitions for watermarks is cached, in ms. */
const PARTITIONS_FRESH_MS = 30_000;

/**
 * Publishes to Kafka with kafkajs; every in-sync replica acknowledges. The records of a rejected call can have been written once or several
 * times. The ledger drops the copies, so calls can run concurrently.
 */
export function createKafkajsPublisher(config: Config, logger: Logger): Publisher {
  const { KAFKA_TOPIC: topic } = config;
  const kafka = openKafka(config, 'ad-server', logger);
  const runs = new PartitionRuns();
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner: () => partitionBy(runs),
    // As often as the list of partitions below, so that both soon know a new one.
    metadataMaxAge: PARTITIONS_FRESH_MS,
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
      runs.end();
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
  const headers = { ...HEADERS, [ID]: key ?? '', [TYPE]: type };
  const traceparent = value === null ? null : encodedTraceparent(value);
  return {
    key,
    value,
    headers: traceparent === null ? headers : { ...headers, [TRACEPARENT]: traceparent },
  };
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
function partitionBy(runs: PartitionRuns) {
  return ({
    message,
    partitionMetadata,
  }: {
    message: Message;
    partitionMetadata: { partitionId: number; leader: number }[];
  }): number => {
    message.partition ??= runs.next(() =>
      partitionMetadata.filter(({ leader }) => leader >= 0).map(({ partitionId }) => partitionId),
    );
    return message.partition;
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
