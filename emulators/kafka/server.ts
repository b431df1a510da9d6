import { Kafka, type KafkaConfig, logLevel } from 'kafkajs';
import { untilAnswers } from '../process/guarded-process.ts';

/** The version of the jars and of the Docker image. */
export const KAFKA_VERSION = '4.1.0';

/** A real Kafka for tests and benchmarks. */
export type KafkaServer = {
  /** host:port, for KAFKA_BROKERS. */
  readonly brokers: string;
  /** False for the server of KAFKA_BROKERS, which was not started here and cannot be killed, suspended or stopped. */
  readonly isControllable: boolean;
  /** Kills the server with SIGKILL. The data stays. */
  readonly kill: () => Promise<void>;
  /** Starts it again on the same port with the same data, and waits until it answers. */
  readonly start: () => Promise<void>;
  /** Freezes it: it accepts connections and does not answer. */
  readonly suspend: () => Promise<void>;
  readonly resume: () => Promise<void>;
  /** Ends it and removes its data. Does nothing for the server of KAFKA_BROKERS. */
  readonly stop: () => Promise<void>;
};

/** TLS and SASL settings for clients. */
export type KafkaConnection = Pick<KafkaConfig, 'ssl' | 'sasl'>;

/** How long Kafka runs: for seconds in a test, which wants a fast start, or for minutes in a benchmark, which wants speed. */
export type KafkaLife = 'short' | 'long';

export type KafkaOptions = {
  /**
   * Entries of server.properties, which override the defaults. The listeners are CLIENTS (with the address `brokers`), BROKER and CONTROLLER;
   * `listener.security.protocol.map` sets their protocols. With properties, a new server is started even if KAFKA_BROKERS is set.
   */
  readonly properties?: Readonly<Record<string, string>>;
  /** More arguments of `kafka-storage.sh format`, such as `--add-scram`. */
  readonly formatArguments?: readonly string[];
  /** Connection settings of the readiness check, for listeners with TLS or SASL. */
  readonly connection?: KafkaConnection;
  /** Default: short. */
  readonly life?: KafkaLife;
};

/** Waits until the server answers a request: it listens before it is ready. */
export async function untilKafkaAnswers(
  brokers: string,
  connection: KafkaConnection,
  earlyEnd: () => Promise<string | null>,
): Promise<void> {
  const kafka = new Kafka({
    ...connection,
    clientId: 'tollway-readiness',
    brokers: [brokers],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2_000,
    requestTimeout: 5_000,
    retry: { retries: 0 },
  });
  await untilAnswers('Kafka', () => describe(kafka), earlyEnd);
}

async function describe(kafka: Kafka): Promise<void> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    // The broker registers with its controller shortly after it listens. Before that, the cluster has no broker.
    const { brokers } = await admin.describeCluster();
    if (brokers.length === 0) throw new Error('Expected a broker in the cluster, got none');
  } finally {
    await admin.disconnect();
  }
}
