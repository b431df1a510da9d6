import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import {
  CreateStreamCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  PutRecordCommand,
  waitUntilStreamExists,
} from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Kafka, type KafkaConfig, logLevel, type SASLOptions } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { secureKafkaIsMissing, startSecureKafka } from '../../emulators/kafka/secure.ts';
import { type KafkaServer, kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { startKinesis } from '../../emulators/kinesis/start.ts';
import { makeTopic } from '../support/kafka-topic.ts';
import { isSkipped } from '../support/skipped.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const START_MS_MAX = 120_000;
const TOPIC = 'clicks';
/** Consumers that try to read the topic, one after the other. */
const CONSUMERS_MAX = 3;

const kafkaMissing = await kafkaIsMissing('controllable');
const secureMissing = await secureKafkaIsMissing();

/** The folder for temporary files of these servers: what is left in it is theirs, not another suite's. */
const folder = suiteFolder();
const { TMPDIR: ownerTmpdir } = process.env;

beforeAll(() => {
  process.env.TMPDIR = folder;
});

afterAll(() => {
  if (ownerTmpdir === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = ownerTmpdir;
});

/** Folders of servers, and processes that run there or guard them. */
function traces(): string[] {
  const processes = readdirSync('/proc').filter(
    (name) => Number(name) > 0 && Number(name) !== process.pid && processWords(name).includes(folder),
  );
  return [
    ...processes.map((pid) => `process ${pid}`),
    ...readdirSync(folder).filter((name) => name.startsWith('tollway-')),
  ];
}

function processWords(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) + readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // It has ended.
  }
}

describe.skipIf(isSkipped(kafkaMissing))('Kafka', () => {
  it(
    'takes and gives records, keeps them through kill -9, freezes, and leaves nothing behind',
    async () => {
      // With properties, it is one of our own, whatever KAFKA_BROKERS says.
      const server = await startKafka({ properties: { 'num.partitions': '1' } });
      try {
        const kafka = kafkaClient(server);
        await createTopic(kafka);
        await produce(kafka, 'one');
        await server.kill();
        await expect(produce(kafka, 'nobody hears this')).rejects.toThrow();
        await server.start();
        await produce(kafka, 'two');
        expect(await consume(kafka, 2)).toEqual(['one', 'two']);

        await server.suspend();
        const impatient = kafkaClient(server, { requestTimeout: 500, connectionTimeout: 500 });
        await expect(produce(impatient, 'nobody answers this')).rejects.toThrow();
        await server.resume();
        await produce(kafka, 'three');
      } finally {
        await server.stop();
      }
      expect(traces()).toEqual([]);
    },
    START_MS_MAX,
  );
});

describe.skipIf(isSkipped(secureMissing))('Kafka with TLS and passwords', () => {
  it(
    'takes SCRAM and PLAIN over TLS, and neither a wrong password nor a client without TLS',
    async () => {
      const server = await startSecureKafka();
      try {
        const { username, password } = server;
        const ssl = {
          ca: [readFileSync(server.caPath)],
          cert: readFileSync(server.clientCertPath),
          key: readFileSync(server.clientKeyPath),
        };
        // A new object each time: kafkajs keeps the authenticator of the first connection in it.
        const sasl = (mechanism: 'scram-sha-512' | 'scram-sha-256' | 'plain', secret = password) =>
          ({ mechanism, username, password: secret }) as SASLOptions;
        await createTopic(kafkaClient(server, { ssl, sasl: sasl('scram-sha-512') }));
        await produce(kafkaClient(server, { ssl, sasl: sasl('scram-sha-512') }), 'one');
        await produce(kafkaClient(server, { ssl, sasl: sasl('scram-sha-256') }), 'two');
        const withoutCertificate = { ca: ssl.ca };
        const plain = kafkaClient(server, {
          ssl: withoutCertificate,
          sasl: sasl('plain'),
        });
        expect(await consume(plain, 2)).toEqual(['one', 'two']);

        const wrong = kafkaClient(server, { ssl, sasl: sasl('scram-sha-512', 'wrong') });
        await expect(produce(wrong, 'three')).rejects.toThrow(/authentication/i);
        await expect(produce(kafkaClient(server), 'four')).rejects.toThrow();
      } finally {
        await server.stop();
      }
      expect(traces()).toEqual([]);
    },
    START_MS_MAX,
  );
});

describe('Kinesis', () => {
  it('takes and gives records, two at once, keeps them through kill, and leaves nothing behind', async () => {
    const servers = await Promise.all([startKinesis(), startKinesis()]);
    try {
      const [first, second] = [kinesisClient(servers[0].endpoint), kinesisClient(servers[1].endpoint)];
      await createStream(first);
      await createStream(second);
      await put(first, 'one');
      await put(second, 'of the other');
      await servers[0].kill();
      await expect(put(first, 'nobody hears this')).rejects.toThrow();
      await servers[0].start();
      await put(first, 'two');
      expect(await read(first)).toEqual(['one', 'two']);
      expect(await read(second)).toEqual(['of the other']);

      await servers[0].suspend();
      await expect(put(first, 'nobody answers this')).rejects.toThrow();
      await servers[0].resume();
      await put(first, 'three');
    } finally {
      for (const server of servers) await server.stop();
    }
    expect(traces()).toEqual([]);
  });

  it('ends with its parent, and its folder too, when that one is killed', async () => {
    const module = JSON.stringify(join(import.meta.dirname, '../../emulators/kinesis/start.ts'));
    const script = `const { startKinesis } = await import(${module}); console.log((await startKinesis()).endpoint);`;
    const parent = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(parent.stdout, 'data');
    // The guardian, the server and the folder.
    expect(traces()).toHaveLength(3);
    parent.kill('SIGKILL');
    await until('nothing left of the server', () => traces().length === 0, 10_000);
  });
});

function kafkaClient(server: KafkaServer, config: Partial<KafkaConfig> = {}): Kafka {
  return new Kafka({
    brokers: [server.brokers],
    logLevel: logLevel.NOTHING,
    retry: { retries: 2 },
    ...config,
  });
}

async function createTopic(kafka: Kafka): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  await makeTopic(admin, { topic: TOPIC, numPartitions: 1 });
  await admin.disconnect();
}

async function produce(kafka: Kafka, value: string): Promise<void> {
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  try {
    await producer.connect();
    await producer.send({ topic: TOPIC, acks: -1, messages: [{ value }] });
  } finally {
    await producer.disconnect();
  }
}

/** Returns the first records of the topic. kafkajs can stop for good when the broker has just started, so a new consumer then tries again. */
async function consume(kafka: Kafka, count: number): Promise<string[]> {
  for (let attempt = 1; ; attempt += 1) {
    const values: string[] = [];
    const consumer = kafka.consumer({ groupId: `servers-test-${attempt}`, retry: { retries: 10 } });
    let hasStopped = false;
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      hasStopped ||= !payload.restart;
    });
    await consumer.connect();
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        values.push(message.value?.toString() ?? '');
      },
    });
    try {
      await until(`${count} records`, () => hasStopped || values.length >= count, 30_000);
    } catch (error) {
      if (attempt === CONSUMERS_MAX) throw error;
    } finally {
      await consumer.disconnect();
    }
    if (values.length >= count) return values;
  }
}

function kinesisClient(endpoint: string): KinesisClient {
  return new KinesisClient({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    requestHandler: new NodeHttpHandler({ requestTimeout: 1_000, throwOnRequestTimeout: true }),
    maxAttempts: 1,
  });
}

async function createStream(client: KinesisClient): Promise<void> {
  await client.send(new CreateStreamCommand({ StreamName: TOPIC, ShardCount: 1 }));
  await waitUntilStreamExists({ client, maxWaitTime: 10, minDelay: 1 }, { StreamName: TOPIC });
}

async function put(client: KinesisClient, value: string): Promise<void> {
  await client.send(
    new PutRecordCommand({ StreamName: TOPIC, PartitionKey: 'any', Data: Buffer.from(value) }),
  );
}

async function read(client: KinesisClient): Promise<string[]> {
  const position = { ShardId: 'shardId-000000000000', ShardIteratorType: 'TRIM_HORIZON' } as const;
  const iterator = await client.send(new GetShardIteratorCommand({ StreamName: TOPIC, ...position }));
  const answer = await client.send(new GetRecordsCommand({ ShardIterator: iterator.ShardIterator }));
  return (answer.Records ?? []).map(({ Data }) => Buffer.from(Data ?? []).toString());
}
