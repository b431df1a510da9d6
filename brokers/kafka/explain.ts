import type { Config } from '../../common/config/config.ts';
import type { ErrorCode } from '../../common/error-codes.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { failureKind } from '../../common/postgres/postgres.ts';
import { isKafkaFailure, type KafkaFailure, readFailure } from './failure.ts';

/** Turns an error of a client of Kafka into one that names the setting at fault. `retryable`: a later attempt can succeed with the same settings. */
export function explainKafka(error: unknown, config: Config): TollwayError {
  if (error instanceof TollwayError) return error;
  const failure = readFailure(error);
  const [code, message] = describe(failure, config);
  return new TollwayError(code, message, { cause: error, retryable: failure.retryable });
}

/** The code and the message for operators. */
function describe({ kind, message }: KafkaFailure, config: Config): [ErrorCode, string] {
  const brokers = config.KAFKA_BROKERS.join(',');
  switch (kind) {
    case 'login':
      return ['kafka_login', `KAFKA_USERNAME, KAFKA_PASSWORD: ${brokers} refuses them: ${message}`];
    case 'topic':
      return [
        'kafka_topic',
        `KAFKA_TOPIC: there is no topic "${config.KAFKA_TOPIC}" at ${brokers}. Create it with npx tollway topics create`,
      ];
    case 'topic rights': {
      const user = config.KAFKA_USERNAME ?? 'this client';
      return ['kafka_rights', `KAFKA_TOPIC: ${user} has no rights to the topic ${config.KAFKA_TOPIC}`];
    }
    case 'group rights':
      return ['kafka_rights', `KAFKA_GROUP: no rights to the group ${config.KAFKA_GROUP}`];
    case 'coordinator':
      // The client keeps to itself whether no broker coordinates the group yet, or this client has no right to it.
      return [
        'kafka',
        `KAFKA_GROUP: no broker coordinates the group ${config.KAFKA_GROUP} yet, or this client may not read it`,
      ];
    case 'tls':
      return ['kafka_tls', `KAFKA_TLS, KAFKA_TLS_CA: no encrypted connection to ${brokers}: ${message}`];
    case 'away':
      return ['kafka_away', `KAFKA_BROKERS: ${brokers} does not answer: ${message}`];
    case 'other':
      return ['kafka', `Kafka at ${brokers}: ${message}`];
    default:
      return kind satisfies never;
  }
}

/** Like `explainKafka`, for work that also uses the database: any other error gets the code `database`. */
export function explainSource(error: unknown, config: Config): TollwayError {
  if (error instanceof TollwayError || isKafkaFailure(error)) return explainKafka(error, config);
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
  return unreadableBatch(config.KAFKA_TOPIC, errorMessage(error), `or after one of ${offsets.join(', ')}`);
}

/** The error for a batch that cannot be decompressed. `at` is its position. */
export function unreadableBatch(topic: string, problem: string, at: string): TollwayError {
  return new TollwayError(
    'kafka_compression',
    `KAFKA_TOPIC: ${topic} holds a batch that cannot be read (${problem}; gzip and zstd can), at ${at}. ` +
      `Set the topic's compression.type to zstd for new batches, and replace this one: see docs/brokers.md#kafka`,
  );
}
