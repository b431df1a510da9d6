import { Kafka, type KafkaMessage, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadPlatformatic } from '../../brokers/kafka/platformatic.ts';
import { settings } from '../../common/config/config.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import { kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { addAccount } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';
import { SLOTS } from './broker.ts';
import { KAFKA_CLIENTS, type KafkaForTests, kafkaForTests } from './kafka-broker.ts';
import { expectAllCharged, type TestEnvironment, untilSettled, withEnvironment } from './test-environment.ts';

const skipped = isSkipped(await kafkaIsMissing());

let server: KafkaForTests;
beforeAll(async () => {
  if (!skipped) server = kafkaForTests(await startKafka());
}, 120_000);
afterAll(() => server?.stop());

it('every client is tested', () => {
  expect(settings.KAFKA_CLIENT.range).toBe(KAFKA_CLIENTS.join(' \\| '));
});

describe.skipIf(skipped).concurrent.each(KAFKA_CLIENTS)('a publisher with %s', (client) => {
  it.each(['none', 'gzip', 'zstd'])(
    'publishes concurrent calls, compressed with %s',
    { timeout: 120_000 },
    (how) =>
      withEnvironment(
        server,
        async (environment) => {
          const { broker, clicks, database, spool } = environment;
          const consumer = await environment.consume();
          await Promise.all(Array.from({ length: 30 }, () => broker.publisher.publish(clicks(100))));
          await broker.publisher.publishEverywhere(spool.watermark());
          await untilSettled(database.pool, 3_000, consumer);
          const { rows } = await database.pool.query<{ position: string }>(
            'select position from broker_checkpoint',
          );
          expect(rows.length).toBe(SLOTS);
          await expectAllCharged(environment);
        },
        { KAFKA_CLIENT: client, KAFKA_COMPRESSION: how },
      ),
  );

  it('finds a leader of each partition as soon as the topic is created', { timeout: 120_000 }, () =>
    withEnvironment(server, async ({ database, clicks }) => {
      const publishAtOnce = async () => {
        const broker = await server.open(database, { KAFKA_CLIENT: client, KAFKA_PARTITIONS: '12' });
        await broker.publisher.publish(clicks(4_000)).finally(broker.close);
      };
      await Promise.all(Array.from({ length: 16 }, publishAtOnce));
    }),
  );

  it('splits records that exceed the limit of a batch of one partition', { timeout: 120_000 }, () =>
    withEnvironment(
      server,
      async (environment) => {
        const { broker, database, spool } = environment;
        const consumer = await environment.consume();
        const account = await addAccount(database.pool, { budget: '1000000.00' });
        // As large as a click can be, with the longest user agent.
        const userAgent = '€'.repeat(512);
        const large = Array.from({ length: 1_000 }, () => spool.click({ ad: account.ad, userAgent }));
        await broker.publisher.publish(large);
        await broker.publisher.publishEverywhere(spool.watermark());
        await untilSettled(database.pool, 1_000, consumer);
        await expectAllCharged(environment);
      },
      { KAFKA_CLIENT: client, KAFKA_PARTITIONS: '1' },
    ),
  );
});

describe.skipIf(skipped)('a publisher with kafkajs', () => {
  it('rejects records that kafkajs does not report as written', { timeout: 60_000 }, () =>
    withEnvironment(server, async ({ broker, clicks, spool }) => {
      const { publisher } = broker;
      // Its client caches the current partitions for some minutes.
      await publisher.publish(clicks(1));
      const admin = await server.admin();
      await admin.createPartitions({
        topicPartitions: [{ topic: broker.config.KAFKA_TOPIC, count: SLOTS + 1 }],
      });
      const partitions = async () =>
        (await admin.fetchTopicMetadata({ topics: [broker.config.KAFKA_TOPIC] })).topics[0]?.partitions
          .length;
      await until('one more partition', async () => (await partitions()) === SLOTS + 1);
      // A watermark goes to every partition. kafkajs silently skips a partition that it does not know.
      await expect(publisher.publishEverywhere(spool.watermark())).rejects.toMatchObject({
        code: 'kafka',
        retryable: true,
        message: `Partition ${SLOTS} accepted no clicks: it has no leader`,
      });
    }),
  );
});

/** Reads the records of the topic of an environment, until there are `count`. */
async function readTopic({ broker, later }: TestEnvironment, count: number): Promise<KafkaMessage[]> {
  const { KAFKA_TOPIC: topic } = broker.config;
  const kafka = new Kafka({ brokers: [server.server.brokers], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: `reader of ${topic}` });
  later(() => consumer.disconnect());
  const read: KafkaMessage[] = [];
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => void read.push(message) });
  await until(`${count} records`, () => read.length >= count);
  return read;
}

/** What consumers see of a record, with its headers in their order. */
const seen = ({ key, value, headers }: KafkaMessage) => ({
  key: key?.toString() ?? null,
  value: value?.toString() ?? null,
  headers: Object.entries(headers ?? {}).map(([name, bytes]) => [name, String(bytes)]),
});

describe.skipIf(skipped)('publishers with either client', () => {
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const records: BrokerRecord[] = [
    clickRecord(),
    clickRecord({ traceparent }),
    clickRecord({ userAgent: 'ключ €𝄞' }),
    { key: 'clé', value: null },
    { key: null, value: Buffer.from([0, 255]) },
  ];

  it.each(['none', 'gzip', 'zstd'])(
    'write the same keys, values and headers, compressed with %s',
    { timeout: 120_000 },
    async (how) => {
      const written: ReturnType<typeof seen>[][] = [];
      for (const client of KAFKA_CLIENTS) {
        const env = { KAFKA_CLIENT: client, KAFKA_COMPRESSION: how };
        await withEnvironment(
          server,
          async (environment) => {
            const { publisher } = environment.broker;
            await publisher.publish(records);
            await publisher.publishEverywhere({ key: 'spool.watermark', value: Buffer.from('{}') });
            const read = await readTopic(environment, records.length + SLOTS);
            const sorted = read.map(seen).sort((a, b) => String(a.key).localeCompare(String(b.key)));
            written.push(sorted);
          },
          env,
        );
      }
      expect(written[1]).toEqual(written[0]);
      expect(written[0]?.flatMap(({ headers }) => headers)).toContainEqual(['ce_traceparent', traceparent]);
    },
  );
});

describe('the client platformatic', () => {
  it.each(['20.19.0', '22.21.1'])('is refused with Node %s, which is too old', async (node) => {
    await expect(loadPlatformatic(node)).rejects.toMatchObject({
      code: 'bad_settings',
      message: expect.stringMatching(
        `^KAFKA_CLIENT: expected Node 22.22 or newer for platformatic, got ${node}.*KAFKA_CLIENT=kafkajs$`,
      ),
    });
  });

  it.each(['22.22.0', '24.0.0', process.versions.node])('is loaded with Node %s', async (node) => {
    expect(await loadPlatformatic(node)).toHaveProperty('ConnectionPool');
  });
});
