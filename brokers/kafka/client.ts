import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs, { type Admin, type Kafka, type KafkaConfig, type SASLOptions } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { counted } from '../../common/counted.ts';
import type { ErrorCode } from '../../common/error-codes.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { failureKind } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;

// Node has zstd, so batches in it can be read, and KAFKA_COMPRESSION can be zstd. kafkajs itself only knows gzip.
const zstd = { compress: promisify(zstdCompress), decompress: promisify(zstdDecompress) };
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: ({ buffer }: { buffer: Buffer }) => zstd.compress(buffer),
  decompress: (buffer: Buffer) => zstd.decompress(buffer),
});

const CONNECT_MS_MAX = 3_000;
/** Maximum wait for an answer of a broker, in ms. */
export const REQUEST_MS_MAX = 15_000;

/** The settings of the connection to Kafka. */
export type KafkaSettings = Pick<
  Config,
  | 'KAFKA_BROKERS'
  | 'KAFKA_TLS'
  | 'KAFKA_TLS_CA'
  | 'KAFKA_TLS_CERT'
  | 'KAFKA_TLS_KEY'
  | 'KAFKA_SASL'
  | 'KAFKA_USERNAME'
  | 'KAFKA_PASSWORD'
>;

/** A client named `tollway-<role>`. Not connected yet. Throws `bad_settings` for a certificate file that cannot be read. */
export function openKafka(config: KafkaSettings, role: string, logger: Logger): Kafka {
  return new kafkajs.Kafka({
    clientId: `tollway-${role}`,
    brokers: [...config.KAFKA_BROKERS],
    ssl: tlsOf(config),
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

function tlsOf(config: KafkaSettings): NonNullable<KafkaConfig['ssl']> {
  if (config.KAFKA_TLS === 'off') return false;
  const read = (name: 'KAFKA_TLS_CA' | 'KAFKA_TLS_CERT' | 'KAFKA_TLS_KEY') => {
    const path = config[name];
    if (path === undefined) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new TollwayError('bad_settings', `${name}: expected a PEM file, got: ${errorMessage(error)}`);
    }
  };
  const [ca, cert, key] = [read('KAFKA_TLS_CA'), read('KAFKA_TLS_CERT'), read('KAFKA_TLS_KEY')];
  return { ...(ca && { ca: [ca] }), ...(cert && { cert }), ...(key && { key }) };
}

function saslOf(config: KafkaSettings): { sasl?: SASLOptions } {
  const { KAFKA_SASL: mechanism, KAFKA_USERNAME: username = '', KAFKA_PASSWORD: password = '' } = config;
  return mechanism === 'off' ? {} : { sasl: { mechanism, username, password } };
}

/** Codes of OpenSSL and of Node's TLS; https://nodejs.org/docs/latest-v24.x/api/tls.html#x509-certificate-error-codes */
const TLS_FAILED = /CERT|TLS|SSL|EPROTO|UNABLE_TO_/;

/** Errors that a retry cannot repair: records that kafkajs cannot read, names and versions that Kafka does not accept. */
const PERMANENT_NAME =
  /^KafkaJS(NotImplemented|UnsupportedMagicByteInMessageSet|ServerDoesNotSupportApiKey)$/;
const PERMANENT_TYPE =
  /^(INVALID_TOPIC_EXCEPTION|INVALID_GROUP_ID|UNSUPPORTED_VERSION|UNSUPPORTED_SASL_MECHANISM)$/;

/** Turns an error of kafkajs into one that names the setting at fault. `retryable`: a later attempt can succeed with the same settings. */
export function explainKafka(error: unknown, config: Config): TollwayError {
  if (error instanceof TollwayError) return error;
  const cause = rootOf(error);
  const { name = '', type = '' } = cause as { name?: string; type?: string };
  const message = errorMessage(cause);
  const explained = (code: ErrorCode, message: string, retryable: boolean) =>
    new TollwayError(code, message, { cause: error, retryable });
  const brokers = config.KAFKA_BROKERS.join(',');
  if (name === 'KafkaJSSASLAuthenticationError') {
    return explained(
      'kafka_login',
      `KAFKA_USERNAME, KAFKA_PASSWORD: ${brokers} refuses them: ${message}`,
      false,
    );
  }
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return explained('kafka_topic', missingTopic(config), true);
  if (type === 'TOPIC_AUTHORIZATION_FAILED') {
    const user = config.KAFKA_USERNAME ?? 'this client';
    return explained(
      'kafka_rights',
      `KAFKA_TOPIC: ${user} has no rights to the topic ${config.KAFKA_TOPIC}`,
      false,
    );
  }
  if (type === 'GROUP_AUTHORIZATION_FAILED') {
    return explained('kafka_rights', `KAFKA_GROUP: no rights to the group ${config.KAFKA_GROUP}`, false);
  }
  if (name === 'KafkaJSGroupCoordinatorNotFound') {
    // kafkajs keeps to itself whether no broker coordinates the group yet, or this client has no right to it.
    const message = `KAFKA_GROUP: no broker coordinates the group ${config.KAFKA_GROUP} yet, or this client may not read it`;
    return explained('kafka', message, true);
  }
  if (TLS_FAILED.test(errorCode(cause) ?? '')) {
    return explained(
      'kafka_tls',
      `KAFKA_TLS, KAFKA_TLS_CA: no encrypted connection to ${brokers}: ${message}`,
      true,
    );
  }
  if (/^KafkaJS(Connection|RequestTimeout|BrokerNotFound|NoBroker)/.test(name)) {
    return explained('kafka_away', `KAFKA_BROKERS: ${brokers} does not answer: ${message}`, true);
  }
  return explained(
    'kafka',
    `Kafka at ${brokers}: ${message}`,
    !(PERMANENT_NAME.test(name) || PERMANENT_TYPE.test(type)),
  );
}

/** Like `explainKafka`, for work that also uses the database: any other error gets the code `database`. */
export function explainSource(error: unknown, config: Config): TollwayError {
  const { name = '' } = error as { name?: string };
  if (name.startsWith('KafkaJS') || error instanceof TollwayError) return explainKafka(error, config);
  const retryable = failureKind(error) === 'transient';
  return new TollwayError('database', `The database: ${errorMessage(error)}`, { cause: error, retryable });
}

/**
 * The error that ends the process after a crash of kafkajs. `offsets` are the next offsets, as `partition@offset`: kafkajs does not say
 * which batch it could not decompress.
 */
export function explainCrash(
  error: Error,
  explained: TollwayError,
  config: Config,
  offsets: readonly string[],
): TollwayError {
  if (error.name !== 'KafkaJSNotImplemented') return explained;
  return new TollwayError(
    'kafka_compression',
    `KAFKA_TOPIC: ${config.KAFKA_TOPIC} holds a batch that cannot be read (${errorMessage(error)}; gzip and zstd can), ` +
      `at or after one of ${offsets.join(', ')}. Set the topic's compression.type to zstd for new batches, and replace this one: see docs/brokers.md#kafka`,
  );
}

/** The first cause: kafkajs wraps errors in others, and the errors of several topics in one that does not name them. */
function rootOf(error: unknown): unknown {
  const { cause, errors } = error as { cause?: unknown; errors?: unknown };
  if (Array.isArray(errors) && errors[0] instanceof Error) return rootOf(errors[0]);
  return cause instanceof Error && cause !== error ? rootOf(cause) : error;
}

function missingTopic(config: Config): string {
  const { KAFKA_TOPIC: topic, KAFKA_BROKERS: brokers } = config;
  return `KAFKA_TOPIC: there is no topic "${topic}" at ${brokers.join(',')}. Create it with npx tollway topics create`;
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
const DAY_MS = 86_400_000;
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
