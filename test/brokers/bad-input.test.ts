import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTopic } from '../../brokers/kafka/client.ts';
import { parseConfig } from '../../common/config/config.ts';
import {
  type SecureKafkaServer,
  secureKafkaIsMissing,
  startSecureKafka,
} from '../../emulators/kafka/secure.ts';
import { kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { silent } from '../support/loggers.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';
import { KAFKA_CLIENTS, type KafkaForTests, kafkaForTests } from './kafka-broker.ts';
import { type KinesisForTests, startKinesisForTests } from './kinesis-broker.ts';
import {
  countSettled,
  type Environment,
  expectAllCharged,
  type Running,
  type TestEnvironment,
  untilSettled,
  withEnvironment,
} from './test-environment.ts';

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;

const skipped = isSkipped(await kafkaIsMissing());
const secureSkipped = isSkipped(await secureKafkaIsMissing());
const ownSkipped = isSkipped(await kafkaIsMissing('controllable'));
const START_MS_MAX = 120_000;

/** The output of a processor, and how it ends. */
async function said(
  environment: TestEnvironment,
  env: Environment,
): Promise<{ code: number | null; printed: string }> {
  const running = await environment.run({ env });
  const { child, ended, printed } = running;
  await until('it to end', () => child.exitCode !== null).catch((error: unknown) => {
    throw new Error(`Expected it to end, it says: ${printed()}`, { cause: error });
  });
  return { code: await ended, printed: printed() };
}

const untilSaid = ({ printed }: Running, what: RegExp) =>
  until(String(what), () => what.test(printed())).catch((error: unknown) => {
    throw new Error(`Expected ${what} in: ${printed()}`, { cause: error });
  });

describe.skipIf(skipped).concurrent.each(KAFKA_CLIENTS)('a processor of Kafka with %s', (client) => {
  let server: KafkaForTests;
  beforeAll(async () => {
    if (!skipped) server = kafkaForTests(await startKafka());
  }, START_MS_MAX);
  afterAll(() => server?.stop());
  const on = (
    title: string,
    work: (environment: TestEnvironment) => Promise<void>,
    env: Record<string, string> = {},
  ) => it(title, { timeout: 60_000 }, () => withEnvironment(server, work, { KAFKA_CLIENT: client, ...env }));

  on(
    'ends if its topic does not exist, and names the setting and the command that creates it',
    async (environment) => {
      const { code, printed } = await said(environment, { KAFKA_TOPIC: 'does-not-exist' });
      expect(printed).toMatch(/KAFKA_TOPIC: there is no topic "does-not-exist".*topics create/);
      expect(code).toBe(1);
    },
  );

  on('warns of too few partitions, and reads', async (environment) => {
    const { broker, clicks, database } = environment;
    const running = await environment.run({ env: { KAFKA_PARTITIONS: '12' } });
    await untilSaid(
      running,
      /KAFKA_PARTITIONS: expected a topic of at least 12 partitions.*has 3.*topics create/,
    );
    await broker.publishTo(0, clicks(5));
    await untilSettled(database.pool, 5);
  });

  on(
    'ends at a batch that it cannot read, logs its position, and continues behind it once it is deleted',
    async (environment) => {
      const { broker, clicks, database } = environment;
      // Created with this compression: after a change, the broker converts batches for a moment longer.
      const topic = `${broker.config.KAFKA_TOPIC}-as-it-comes`;
      const configEntries = [{ name: 'compression.type', value: 'producer' }];
      await server.makeTopic({ ...broker.config, KAFKA_TOPIC: topic }, { configEntries });
      CompressionCodecs[CompressionTypes.Snappy] = () => ({
        compress: async ({ buffer }: { buffer: Buffer }) => storedSnappy(buffer),
        decompress: async () => Promise.reject(new Error('Expected no read in this process')),
      });
      const readable = clicks(5);
      const unreadable = clicks(5);
      await server.produce(topic, 1, readable);
      await server.produce(topic, 1, unreadable, CompressionTypes.Snappy);
      for (const partition of [0, 2]) await server.produce(topic, partition, clicks(2));
      const running = await environment.run({ env: { KAFKA_TOPIC: topic } });
      const code = await running.ended;
      expect(running.printed()).toMatch(
        new RegExp(
          `KAFKA_TOPIC: ${topic} holds a batch that cannot be read .*Snappy.*1@[05].*compression.type`,
        ),
      );
      expect(code).toBe(1);
      // kafkajs decompresses all partitions of an answer before it passes on the first one.
      if (client === 'platformatic') expect(await countSettled(database.pool)).toBe(4);

      // As docs/brokers.md says: copies are published, the originals deleted, and the processor continues behind them.
      await server.produce(topic, 1, [...readable, ...unreadable]);
      const admin = await server.admin();
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 1, offset: '10' }] });
      const again = await environment.run({ env: { KAFKA_TOPIC: topic } });
      await untilSettled(database.pool, 14);
      await untilSaid(again, /The broker has deleted records that were not read/);
    },
  );

  on('charges clicks whose records have no headers or unknown ones', async (environment) => {
    const { broker, clicks, database } = environment;
    const kafka = new Kafka({ brokers: [server.server.brokers], logLevel: logLevel.NOTHING });
    const producer = kafka.producer({ allowAutoTopicCreation: false });
    environment.later(() => producer.disconnect());
    await producer.connect();
    const messages = clicks(6).map(({ key, value }, index) => ({
      key,
      value,
      ...(index % 2 === 0 ? {} : { headers: { ce_type: 'something.else', traceparent: ['a', 'b'] } }),
    }));
    await producer.send({ topic: broker.config.KAFKA_TOPIC, acks: -1, messages });
    const consumer = await environment.consume();
    await untilSettled(database.pool, 6, consumer);
    await expectAllCharged(environment);
  });
});

describe.skipIf(ownSkipped)('a processor without a reachable Kafka', () => {
  it('waits, names the setting once, and reads when Kafka starts', { timeout: 120_000 }, async () => {
    const properties = { 'num.partitions': '1' };
    const server = kafkaForTests(await startKafka({ properties }));
    try {
      await withEnvironment(server, async (environment) => {
        await server.server.kill();
        const running = await environment.run();
        await untilSaid(running, /KAFKA_BROKERS: 127\.0\.0\.1:\d+ does not answer/);
        const ready = await fetch(`${running.opsUrl}/readyz`);
        expect(ready.status).toBe(503);
        expect(await ready.text()).toContain('KAFKA_BROKERS');
        await server.server.start();
        await environment.broker.publishTo(0, environment.clicks(5));
        await untilSettled(environment.database.pool, 5);
        await untilSaid(running, /The processor reads from the broker again/);
        expect(running.child.exitCode).toBe(null);
        expect(running.printed().match(/KAFKA_BROKERS/g)?.length).toBe(1);
        await until('readiness', async () => (await fetch(`${running.opsUrl}/readyz`)).ok, 10_000);
      });
    } finally {
      await server.stop();
    }
  });
});

describe.skipIf(secureSkipped).concurrent.each(KAFKA_CLIENTS)(
  'a processor of a Kafka with authentication, with %s',
  (client) => {
    let secure: SecureKafkaServer;
    let server: KafkaForTests;
    beforeAll(async () => {
      if (secureSkipped) return;
      secure = await startSecureKafka();
      server = kafkaForTests(secure, client);
    }, START_MS_MAX);
    afterAll(() => server?.stop());
    const login = (mechanism: string, more: Record<string, string> = {}) => ({
      KAFKA_TLS: 'on',
      KAFKA_TLS_CA: secure.caPath,
      KAFKA_SASL: mechanism,
      KAFKA_USERNAME: secure.username,
      KAFKA_PASSWORD: secure.password,
      ...more,
    });
    const on = (
      title: string,
      env: () => Record<string, string>,
      work: (environment: TestEnvironment) => Promise<void>,
    ) => it(title, { timeout: 60_000 }, () => withEnvironment(server, work, env()));

    for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) {
      on(
        `logs in with ${mechanism}`,
        () => login(mechanism),
        async ({ broker, clicks, consume, database, spool }) => {
          await broker.publisher.publish(clicks(5));
          await broker.publisher.publishEverywhere(spool.watermark());
          const consumer = await consume();
          await untilSettled(database.pool, 5, consumer);
        },
      );
    }

    on(
      'charges clicks with a client certificate',
      () => login('plain', { KAFKA_TLS_CERT: secure.clientCertPath, KAFKA_TLS_KEY: secure.clientKeyPath }),
      async ({ broker, clicks, consume, database }) => {
        await broker.publisher.publish(clicks(5));
        const consumer = await consume();
        await untilSettled(database.pool, 5, consumer);
      },
    );

    it.each(['plain', 'scram-sha-256'])(
      'ends with a wrong password, and names the settings (%s)',
      { timeout: 60_000 },
      (mechanism) =>
        withEnvironment(
          server,
          async (environment) => {
            const { code, printed } = await said(environment, {
              KAFKA_SASL: mechanism,
              KAFKA_PASSWORD: 'wrong',
            });
            expect(printed).toMatch(/KAFKA_USERNAME, KAFKA_PASSWORD: .* refuses them/);
            expect(printed).not.toContain('wrong');
            expect(code).toBe(1);
          },
          login('plain'),
        ),
    );

    it.each([
      ['an unknown certificate authority', { KAFKA_TLS_CA: '' }, /KAFKA_(TLS|BROKERS)/],
      ['a missing file', { KAFKA_TLS_CA: '/nowhere/ca.pem' }, /KAFKA_TLS_CA: expected a PEM file/],
      ['no encryption', { KAFKA_TLS: 'off', KAFKA_TLS_CA: '' }, /KAFKA_(TLS|BROKERS)/],
    ])('names the wrong setting: %s', { timeout: 60_000 }, (_, env, what) =>
      withEnvironment(
        server,
        async (environment) => {
          const running = await environment.run({ env });
          await untilSaid(running, what);
        },
        login('plain'),
      ),
    );
  },
);

describe('topics create', () => {
  it('names the setting if Kafka does not answer', { timeout: 60_000 }, async () => {
    const [port] = await freePorts(1);
    const config = parseConfig({ BROKER: 'kafka', KAFKA_BROKERS: `127.0.0.1:${port}` });
    await expect(createTopic(config, silent)).rejects.toThrow(
      /^KAFKA_BROKERS: 127\.0\.0\.1:\d+ does not answer/,
    );
  });
});

describe.concurrent('a processor of Kinesis', () => {
  let server: KinesisForTests;
  beforeAll(async () => {
    server = await startKinesisForTests();
  });
  afterAll(() => server?.stop());
  const on = (title: string, work: (environment: TestEnvironment) => Promise<void>) =>
    it(title, { timeout: 60_000 }, () => withEnvironment(server, work));

  on(
    'ends if its stream does not exist, and names the setting and the command that creates it',
    async (environment) => {
      const { code, printed } = await said(environment, { KINESIS_STREAM: 'does-not-exist' });
      expect(printed).toMatch(/KINESIS_STREAM: there is no stream "does-not-exist".*topics create/);
      expect(code).toBe(1);
    },
  );

  on('ends without a region or with an invalid one, and names it', async (environment) => {
    for (const AWS_REGION of [undefined, '', 'eu west']) {
      const { code, printed } = await said(environment, { AWS_REGION, AWS_CONFIG_FILE: '/nowhere/at/all' });
      expect(printed).toMatch(/AWS_REGION: expected the region of the stream, such as eu-west-1/);
      expect(code).toBe(1);
    }
  });

  on('ends without credentials, and says where it looked for them', async (environment) => {
    const nothing = '/nowhere/at/all';
    const env = {
      AWS_ACCESS_KEY_ID: '',
      AWS_SECRET_ACCESS_KEY: '',
      AWS_SHARED_CREDENTIALS_FILE: nothing,
      AWS_CONFIG_FILE: nothing,
      AWS_EC2_METADATA_DISABLED: 'true',
    };
    const { code, printed } = await said(environment, env);
    expect(printed).toMatch(/AWS credentials \(AWS_ACCESS_KEY_ID/);
    expect(code).toBe(1);
  });

  on('waits if the endpoint is wrong, and names it once', async (environment) => {
    const [port] = await freePorts(1);
    const running = await environment.run({ env: { KINESIS_ENDPOINT: `http://127.0.0.1:${port}` } });
    await untilSaid(running, /KINESIS_ENDPOINT: http:\/\/127\.0\.0\.1:\d+ does not answer/);
    const ready = await fetch(`${running.opsUrl}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('KINESIS_ENDPOINT')]);
    expect(running.printed().match(/KINESIS_ENDPOINT/g)?.length).toBe(1);
    expect(running.child.exitCode).toBe(null);
  });
});

const SNAPPY_BLOCK_MAX = 32_768;

/**
 * Snappy as uncompressed literals, in the framing of Kafka's clients. It must be valid, because the broker validates every batch. https://github.com/google/snappy/blob/main/format_description.txt
 */
function storedSnappy(bytes: Buffer): Buffer {
  const parts = [Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0]), int32(1), int32(1)];
  for (let at = 0; at < bytes.length; at += SNAPPY_BLOCK_MAX) {
    const piece = bytes.subarray(at, at + SNAPPY_BLOCK_MAX);
    const last = piece.length - 1;
    const block = Buffer.concat([varint(piece.length), Buffer.from([61 << 2, last & 255, last >> 8]), piece]);
    parts.push(int32(block.length), block);
  }
  return Buffer.concat(parts);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value; ; left >>>= 7) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left & 127) | 128);
  }
}
