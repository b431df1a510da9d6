import { Kafka, type KafkaConfig, logLevel } from 'kafkajs';
import { untilAnswers } from '../process/guarded-process.ts';

/** Of the jars and of the image alike. */
export const KAFKA_VERSION = '4.1.0';

/** A real Kafka for tests and benches. */
export type KafkaServer = {
  /** host:port, for KAFKA_BROKERS. */
  readonly brokers: string;
  /** False for the server of KAFKA_BROKERS, which is somebody else's: it cannot be killed, suspended or stopped. */
  readonly isControllable: boolean;
  /** kill -9 of the server; the data stays. */
  readonly kill: () => Promise<void>;
  /** Starts it again on the same port and data, and waits until it answers. */
  readonly start: () => Promise<void>;
  /** Freezes it: a broker that is there, takes connections and does not answer. */
  readonly suspend: () => Promise<void>;
  readonly resume: () => Promise<void>;
  /** Ends it and removes its data; leaves a server alone that is not ours. */
  readonly stop: () => Promise<void>;
};

/** How a client has to connect. */
export type KafkaConnection = Pick<KafkaConfig, 'ssl' | 'sasl'>;

export type KafkaOptions = {
  /**
   * Added to server.properties, or in place of ours. The listeners are CLIENTS (its address is `brokers`), BROKER and
   * CONTROLLER; `listener.security.protocol.map` says what each one speaks. Not for the server of KAFKA_BROKERS: with
   * properties, a server of our own is started in any case.
   */
  readonly properties?: Readonly<Record<string, string>>;
  /** More arguments of `kafka-storage.sh format`, such as `--add-scram`. */
  readonly formatArguments?: readonly string[];
  /** How the request connects that tells whether the server is ready; for listeners with TLS or SASL. */
  readonly connection?: KafkaConnection;
};

/** Waits for the answer to a real request: an open port is not yet a broker. */
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
    // The broker registers with its controller a moment after it listens; before that, it knows of no broker.
    const { brokers } = await admin.describeCluster();
    if (brokers.length === 0) throw new Error('Expected a broker in the cluster');
  } finally {
    await admin.disconnect();
  }
}
