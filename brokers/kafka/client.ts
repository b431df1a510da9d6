import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs, { type Admin, type Kafka, type SASLOptions } from 'kafkajs';
// @ts-expect-error kafkajs has types for its public part only.
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import type { Config } from '../../common/config/config.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { CONNECT_MS_MAX, type KafkaSettings, REQUEST_MS_MAX, tlsOf } from './connection-settings.ts';
import { explainKafka } from './explain.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;

// Node has zstd, so batches in it can be read, and KAFKA_COMPRESSION can be zstd. kafkajs itself only knows gzip.
const zstd = { compress: promisify(zstdCompress), decompress: promisify(zstdDecompress) };
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: ({ buffer }: { buffer: Buffer }) => zstd.compress(buffer),
  decompress: (buffer: Buffer) => zstd.decompress(buffer),
});

/** The queue of requests of each connection of kafkajs. */
type Queue = { readonly pending: readonly unknown[]; scheduleCheckPendingRequests: () => void };

// After its first answer, kafkajs looks into the queue of a connection every millisecond, with a timer in the past, although a request that comes
// into it starts such a timer too: https://github.com/tulios/kafkajs/issues/1751. Half of the CPU time of a processor without clicks was that.
const queue: Queue = RequestQueue.prototype;
const { scheduleCheckPendingRequests } = queue;
queue.scheduleCheckPendingRequests = function (this: Queue) {
  if (this.pending.length > 0) scheduleCheckPendingRequests.call(this);
};

/** A client named `tollway-<role>`. Not connected yet. Throws `bad_settings` for a certificate file that cannot be read. */
export function openKafka(config: KafkaSettings, role: string, logger: Logger): Kafka {
  return new kafkajs.Kafka({
    clientId: `tollway-${role}`,
    brokers: [...config.KAFKA_BROKERS],
    ssl: tlsOf(config) ?? false,
    ...saslOf(config),
    connectionTimeout: CONNECT_MS_MAX,
    authenticationTimeout: CONNECT_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    // The caller retries and reports what is blocked.
    retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 1_000 },
    // kafkajs logs broker restarts and rebalances as errors. The callers report what matters.
    logCreator:
      () =>
      ({ log: { message, timestamp: _, logger: __, ...more }, namespace }) =>
        logger.debug({ kafkajs: namespace, ...more }, message),
  });
}

function saslOf(config: KafkaSettings): { sasl?: SASLOptions } {
  const { KAFKA_SASL: mechanism, KAFKA_USERNAME: username = '', KAFKA_PASSWORD: password = '' } = config;
  return mechanism === 'off' ? {} : { sasl: { mechanism, username, password } };
}

/** The partitions of the topic, ascending. Throws `kafka_topic` if the topic does not exist (it does not create it), and `explainKafka`'s errors. */
export async function readPartitions(admin: Admin, config: Config): Promise<number[]> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [config.KAFKA_TOPIC] });
    const partitions = topics[0]?.partitions.map(({ partitionId }) => partitionId) ?? [];
    return partitions.sort((a, b) => a - b);
  } catch (error) {
    throw explainKafka(error, config);
  }
}

/** A message if the topic has fewer partitions than `KAFKA_PARTITIONS`, or `null`. */
export function partitionsProblem(count: number, config: Config): string | null {
  const { KAFKA_PARTITIONS: expected, KAFKA_TOPIC: topic } = config;
  if (count >= expected) return null;
  return (
    `KAFKA_PARTITIONS: expected a topic of at least ${counted(expected, 'partition')}, ${topic} has ${count}: ` +
    'npx tollway topics create adds them'
  );
}

/** Runs `work` with an admin connection and closes it. Throws `explainKafka`'s errors. */
export async function withAdmin<T>(
  config: Config,
  logger: Logger,
  work: (admin: Admin) => Promise<T>,
): Promise<T> {
  const admin = openKafka(config, 'admin', logger).admin();
  try {
    await admin.connect();
    return await work(admin);
  } catch (error) {
    throw explainKafka(error, config);
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

/** Replicas of each partition (fewer if there are fewer brokers), and how many of them must store a click before it is acknowledged. */
const REPLICAS = 3;
const REPLICAS_IN_SYNC = 2;
/** Polling interval and maximum wait for a topic that is being created, in ms. */
const POLL_MS = 200;
const CREATE_MS_MAX = 30_000;

export type TopicMade = { readonly partitions: number; readonly made: 'all' | 'partitions' | 'nothing' };

/**
 * Creates the topic, or adds missing partitions; it never removes one. With three brokers or more: three replicas, two in sync. No unclean
 * leader election, retention `BROKER_RETENTION_DAYS`.
 */
export function createTopic(config: Config, logger: Logger): Promise<TopicMade> {
  const { KAFKA_TOPIC: topic, KAFKA_PARTITIONS: wanted } = config;
  return withAdmin(config, logger, async (admin) => {
    if ((await admin.listTopics()).includes(topic)) {
      const { length: partitions } = await readPartitions(admin, config);
      if (partitions >= wanted) return { partitions, made: 'nothing' };
      await admin.createPartitions({ topicPartitions: [{ topic, count: wanted }] });
      await untilLeadersAnswer(config, logger);
      return { partitions: wanted, made: 'partitions' };
    }
    const { brokers } = await admin.describeCluster();
    const replicas = Math.min(REPLICAS, brokers.length);
    const compression = config.KAFKA_COMPRESSION === 'none' ? 'uncompressed' : config.KAFKA_COMPRESSION;
    await admin.createTopics({
      waitForLeaders: false,
      topics: [
        {
          topic,
          numPartitions: wanted,
          replicationFactor: replicas,
          configEntries: [
            { name: 'min.insync.replicas', value: String(Math.min(REPLICAS_IN_SYNC, replicas)) },
            { name: 'unclean.leader.election.enable', value: 'false' },
            { name: 'retention.ms', value: String(config.BROKER_RETENTION_DAYS * DAY_MS) },
            { name: 'cleanup.policy', value: 'delete' },
            // The broker recompresses what other producers send, so that processors can read it.
            { name: 'compression.type', value: compression },
          ],
        },
      ],
    });
    await untilLeadersAnswer(config, logger);
    return { partitions: wanted, made: 'all' };
  });
}

/**
 * Waits until the leader of every partition answers. Brokers learn of new partitions one after the other: a leader can still refuse a
 * partition that other brokers list. Each poll uses a new client, because clients cache metadata.
 */
async function untilLeadersAnswer(config: Config, logger: Logger): Promise<void> {
  const { KAFKA_TOPIC: topic, KAFKA_PARTITIONS: wanted } = config;
  for (const deadline = performance.now() + CREATE_MS_MAX; ; await sleep(POLL_MS)) {
    try {
      const answered = await withAdmin(config, logger, (admin) => admin.fetchTopicOffsets(topic));
      if (answered.length >= wanted) return;
    } catch (error) {
      if (!isRetryable(error) || performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline)
      throw new TollwayError('kafka', `KAFKA_TOPIC: ${topic} is not ready after ${CREATE_MS_MAX / 1_000} s`);
  }
}

function isRetryable(error: unknown): boolean {
  return error instanceof TollwayError && error.retryable;
}
