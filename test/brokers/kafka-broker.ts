import {
  type Admin,
  CompressionTypes,
  type ITopicConfig,
  Kafka,
  logLevel,
  type Producer,
  type ProducerRecord,
} from 'kafkajs';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createTopic } from '../../brokers/kafka/client.ts';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import { type Config, parseConfig } from '../../common/config/config.ts';
import { errorMessage } from '../../common/errors.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import { type KafkaServer, kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { makeTopic } from '../support/kafka-topic.ts';
import { silent } from '../support/loggers.ts';
import { until } from '../support/until.ts';
import { type Broker, between, type Driver, QUICK, type Server, SLOTS } from './broker.ts';
import type { KafkaCluster } from './kafka-cluster.ts';

/** A server, with connections of the tests besides those under test. */
export type KafkaForTests = Server & {
  readonly server: KafkaServer;
  readonly admin: () => Promise<Admin>;
  /** Creates a topic with properties that `topics create` does not choose. */
  readonly makeTopic: (config: Config, more?: Partial<ITopicConfig>) => Promise<void>;
  readonly produce: (
    topic: string,
    partition: number,
    records: readonly BrokerRecord[],
    compression?: CompressionTypes,
  ) => Promise<void>;
};

/** Every client library for Kafka. */
export const KAFKA_CLIENTS = ['kafkajs', 'platformatic'] as const;

/** Kafka with the client of `KAFKA_CLIENT`. */
export function kafkaDriver(client: Config['KAFKA_CLIENT']): Driver {
  return {
    name: 'kafka',
    hasCheckpoints: true,
    canFreeze: true,
    missing: () => kafkaIsMissing(),
    start: async () => kafkaForTests(await startKafka(), client),
  };
}

/** The cluster as a server that no test stops or freezes as a whole. */
export function clusterForTests({ brokers, stop }: KafkaCluster): KafkaForTests {
  const unused = async () => undefined;
  const controls = { kill: unused, start: unused, suspend: unused, resume: unused };
  return kafkaForTests({ brokers, isControllable: false, ...controls, stop });
}

/** `client` is the default of `open`. */
export function kafkaForTests(
  server: KafkaServer,
  client: Config['KAFKA_CLIENT'] = 'kafkajs',
): KafkaForTests {
  const kafka = new Kafka({
    clientId: 'tollway-test',
    brokers: server.brokers.split(','),
    logLevel: logLevel.NOTHING,
  });
  let opened: Promise<Admin> | undefined;
  const admin = () => {
    opened ??= connected(kafka.admin());
    return opened;
  };
  const { produce, disconnect } = createProduce(kafka);
  return {
    server,
    admin,
    makeTopic: async (config, more = {}) => {
      const numPartitions = config.KAFKA_PARTITIONS;
      await makeTopic(await admin(), {
        topic: config.KAFKA_TOPIC,
        numPartitions,
        replicationFactor: 1,
        ...more,
      });
    },
    produce,
    open: async (database, more = {}) => {
      const name = `clicks-${uuidV7()}`;
      const env: Record<string, string> = {
        ...QUICK,
        BROKER: 'kafka',
        KAFKA_CLIENT: client,
        DATABASE_URL: database.url,
        KAFKA_BROKERS: server.brokers,
        KAFKA_TOPIC: name,
        KAFKA_GROUP: `group-${name}`,
        KAFKA_PARTITIONS: String(SLOTS),
        ...more,
      };
      const config = parseConfig(env);
      await createTopic(config, silent);
      return brokerOf(config, env, admin, produce);
    },
    outage: server.isControllable ? between(server.kill, server.start) : null,
    freeze: server.isControllable ? between(server.suspend, server.resume) : null,
    stop: async () => {
      await (await opened)?.disconnect();
      await disconnect();
      await server.stop();
    },
  };
}

/** Publishes with a producer that tests share. */
function createProduce(kafka: Kafka): {
  readonly produce: KafkaForTests['produce'];
  readonly disconnect: () => Promise<void>;
} {
  let shared: Promise<Producer> | undefined;
  /** Those that another one has replaced. Tests that run at the same time can still use them. */
  const replaced: Promise<Producer>[] = [];
  const producer = () => {
    shared ??= connected(kafka.producer({ allowAutoTopicCreation: false }));
    return shared;
  };
  /** Whether the records were written. A producer looks up all topics that it has sent to, and fails if another test has deleted one of them. */
  const isSent = async (options: ProducerRecord) => {
    try {
      return (await (await producer()).send(options)).length > 0;
    } catch (error) {
      if (/does not host this topic-partition/.test(errorMessage(error))) return false;
      throw error;
    }
  };
  return {
    produce: async (topic, partition, records, compression) => {
      const messages = records.map(({ key, value }) => ({ key, value, partition }));
      const options = { topic, acks: -1, messages, compression: compression ?? CompressionTypes.None };
      if (await isSent(options)) return;
      // kafkajs silently skips records for a partition that it does not know yet. A new one is known to a broker a little later.
      await until(`partition ${partition} of ${topic}`, () => {
        replaced.push(producer());
        shared = undefined;
        return isSent(options);
      });
    },
    disconnect: async () => {
      for (const one of [shared, ...replaced]) await (await one)?.disconnect();
    },
  };
}

async function connected<T extends Admin | Producer>(client: T): Promise<T> {
  await client.connect();
  return client;
}

async function brokerOf(
  config: Config,
  env: Record<string, string>,
  admin: () => Promise<Admin>,
  produce: KafkaForTests['produce'],
): Promise<Broker> {
  const { KAFKA_TOPIC: topic, KAFKA_GROUP: group } = config;
  const publisher = await createKafkaPublisher(config, silent);
  const deleteGroup = async () => void (await (await admin()).deleteGroups([group]));
  return {
    env,
    config,
    publisher,
    backlogs: await createBacklogs(config, silent),
    publishTo: (slot, records) => produce(topic, slot, records),
    deletePositions: {
      'the offsets of its group': deleteGroup,
      'its checkpoints': async (pool) => void (await pool.query('delete from broker_checkpoint')),
      both: async (pool) => {
        await deleteGroup();
        await pool.query('delete from broker_checkpoint');
      },
    },
    place: (slot) => new RegExp(`^${topic}/${slot}@\\d+$`),
    close: publisher.close,
  };
}
