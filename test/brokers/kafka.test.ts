import { createHash } from 'node:crypto';
import { CompressionTypes } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';
import { SLOTS } from './broker.ts';
import { KAFKA_CLIENTS, type KafkaForTests, kafkaForTests } from './kafka-broker.ts';
import {
  type Consumer,
  countSettled,
  expectAllCharged,
  gate,
  type TestEnvironment,
  untilCheckpointed,
  untilSettled,
  withEnvironment,
} from './test-environment.ts';

const ERROR = 50;
const WARNING = 40;
const skipped = isSkipped(await kafkaIsMissing());

let server: KafkaForTests;
beforeAll(async () => {
  if (!skipped) server = kafkaForTests(await startKafka());
}, 120_000);
afterAll(() => server?.stop());

const lost = async ({ metrics }: Consumer) => (await metrics.brokerLost.get()).values[0]?.value ?? 0;
const alarms = ({ logged }: Consumer) => logged.filter(({ level }) => level >= ERROR).map(({ msg }) => msg);

/** Makes the broker delete the records of a partition up to an offset. */
async function deleteRecords({ broker }: TestEnvironment, partition: number, offset: number): Promise<void> {
  const { KAFKA_TOPIC: topic } = broker.config;
  const admin = await server.admin();
  await admin.fetchTopicMetadata({ topics: [topic] });
  // On a busy machine the client gets the leader of a partition late.
  const deleted = () =>
    admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] }).then(
      () => true,
      () => false,
    );
  await until('records to be deleted', deleted, 10_000);
}

describe.skipIf(skipped).concurrent.each(KAFKA_CLIENTS)('a consumer of Kafka with %s', (client) => {
  const on = (
    title: string,
    work: (environment: TestEnvironment) => Promise<void>,
    env: Record<string, string> = {},
  ) => it(title, { timeout: 120_000 }, () => withEnvironment(server, work, { KAFKA_CLIENT: client, ...env }));

  on('logs an error and counts lost records when the broker has deleted unread ones', async (environment) => {
    const { broker, clicks, database } = environment;
    await broker.publishTo(0, clicks(10));
    const before = await environment.consume();
    await untilSettled(database.pool, 10, before);
    await before.stop();
    await broker.publishTo(0, clicks(20));
    await deleteRecords(environment, 0, 17);
    const after = await environment.consume();
    await untilSettled(database.pool, 23, after);
    expect(await lost(after)).toBe(7);
    expect(alarms(after)).toEqual([
      'The broker has deleted records that were not read: 7, from offset 10 on',
    ]);
    expect(await countSettled(database.pool)).toBe(23);
    // The checkpoint is correct now, so the next consumer logs nothing.
    await untilCheckpointed(environment);
    await after.stop();
    const next = await environment.consume();
    await broker.publishTo(0, clicks(1));
    await untilSettled(database.pool, 25, next);
    expect([await lost(next), ...alarms(next)]).toEqual([0]);
  });

  on(
    'logs an error and counts lost records when the broker deletes unread ones while it runs',
    async (environment) => {
      const { broker, clicks, database } = environment;
      const held = gate();
      let taken = 0;
      const consumer = await environment.consume({
        wrap: (submit) => async (records, signal) => {
          taken += records.length;
          const delivered = submit(records, signal);
          await held.opened;
          await delivered;
        },
      });
      // Until the sink is full, so that the rest stays in the broker.
      for (let round = 0; round < 60; round += 1) await broker.publishTo(0, clicks(10));
      await until('something to be taken', () => taken > 0);
      await deleteRecords(environment, 0, 600);
      held.open();
      await broker.publishTo(0, clicks(1));
      const settled = async () => (await countSettled(database.pool)) + (await lost(consumer));
      await until('every click to be settled or known to be lost', async () => (await settled()) >= 601);
      expect(await settled()).toBe(601);
      expect(alarms(consumer).length).toBe((await lost(consumer)) > 0 ? 1 : 0);
      expect(consumer.failure()).toBe(null);
    },
    { BATCH_SIZE: '10' },
  );

  on('reads all records after its topic was created again', async (environment) => {
    const { broker, clicks, database } = environment;
    const { KAFKA_TOPIC: topic } = broker.config;
    for (let slot = 0; slot < SLOTS; slot += 1) await broker.publishTo(slot, clicks(20));
    const before = await environment.consume();
    await untilSettled(database.pool, 60, before);
    await before.stop();
    const admin = await server.admin();
    await admin.deleteTopics({ topics: [topic] });
    await until('the topic to be deleted', async () => !(await admin.listTopics()).includes(topic));
    await until('the topic to be made again', () =>
      server.makeTopic(broker.config).then(
        () => true,
        () => false,
      ),
    );
    // First fewer records than were read of the old topic, then more.
    await until('clicks to be published', () =>
      broker.publishTo(0, clicks(5)).then(
        () => true,
        () => false,
      ),
    );
    await broker.publishTo(1, clicks(30));
    const after = await environment.consume();
    await untilSettled(database.pool, 95, after);
    expect(alarms(after).length).toBeGreaterThan(0);
    await expectAllCharged(environment);
  });

  on('reads partitions that are added while it runs from their first record on', async (environment) => {
    const { broker, clicks, database } = environment;
    const { KAFKA_TOPIC: topic } = broker.config;
    await environment.publishEverySlot(5);
    const consumer = await environment.consume({ env: { START_POSITION: 'latest' } });
    await until('it to have joined', () => consumer.source.problems().length === 0);
    await (await server.admin()).createPartitions({ topicPartitions: [{ topic, count: SLOTS + 1 }] });
    await broker.publishTo(SLOTS, clicks(25));
    await untilSettled(database.pool, 25, consumer);
    expect(consumer.failure()).toBe(null);
  });

  on('keeps START_POSITION until the group has really stored an offset', async (environment) => {
    const env = { START_POSITION: 'latest' };
    const skipped = await environment.publishEverySlot(5);
    const first = await environment.consume({ env });
    // As kafkajs does while it is about to rejoin.
    const { consumer } = first.source as unknown as { consumer: { commitOffsets: () => Promise<void> } };
    consumer.commitOffsets = async () => {};
    await until('it to have joined', () => first.source.problems().length === 0);
    await environment.publishEverySlot(5);
    await untilSettled(environment.database.pool, environment.spool.accepted - skipped, first);
    await first.stop();
    const second = await environment.consume({ env });
    await environment.publishEverySlot(5);
    await untilSettled(environment.database.pool, environment.spool.accepted - skipped, second);
    await second.stop();
    expect(await countSettled(environment.database.pool)).toBe(environment.spool.accepted - skipped);
    expect(alarms(second)).toEqual([]);
  });

  on('reads batches compressed with gzip and zstd', async (environment) => {
    const { broker, clicks, database } = environment;
    const { KAFKA_TOPIC: topic } = broker.config;
    await (await server.admin()).alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: topic, configEntries: [{ name: 'compression.type', value: 'producer' }] }],
    });
    const consumer = await environment.consume();
    for (const compression of [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.ZSTD])
      await server.produce(topic, 0, clicks(10), compression);
    await untilSettled(database.pool, 30, consumer);
    await expectAllCharged(environment);
  });

  on(
    'stores records that are no clicks as dead letters, and charges a click without a key',
    async (environment) => {
      const { broker, clicks, database } = environment;
      const [unkeyed] = clicks(1);
      const consumer = await environment.consume();
      await broker.publishTo(2, [
        { key: null, value: Buffer.from('unknown bytes') },
        { key: 'empty', value: null },
        { key: null, value: null },
        { key: null, value: unkeyed?.value ?? null },
        ...clicks(5),
      ]);
      await untilSettled(database.pool, 6, consumer);
      const letters = async () =>
        (await database.pool.query('select identity, record_key, raw, detail from dead_letter order by id'))
          .rows;
      await until('three dead letters', async () => (await letters()).length === 3);
      const found = await letters();
      expect(found).toMatchObject([
        { record_key: null, raw: Buffer.from('unknown bytes') },
        { record_key: 'empty', raw: null, detail: 'Expected a click event, got null' },
        { record_key: null, raw: null },
      ]);
      const { KAFKA_TOPIC: topic } = broker.config;
      // The position, and the hash of the bytes if there are any.
      const hash = createHash('sha256').update('unknown bytes').digest('hex').slice(0, 16);
      const places = [`0 ${hash}`, '1', '2'].map((at) => `position ${topic}/2@${at}`);
      expect(found.map(({ identity }) => identity)).toEqual(places);
      expect((await consumer.metrics.foreignRecords.get()).values[0]?.value).toBe(3);
    },
  );

  on(
    'logs that it is idle when there are fewer partitions than consumers',
    async (environment) => {
      const { broker, clicks, database } = environment;
      const one = await environment.consume();
      await broker.publishTo(0, clicks(5));
      await untilSettled(database.pool, 5, one);
      const two = await environment.consume();
      const idle = () => [one, two].find(({ source }) => source.problems().length > 0);
      await until(
        'one to idle',
        () => idle()?.source.problems()[0]?.reason.includes('KAFKA_PARTITIONS') ?? false,
      );
      const said = idle()
        ?.logged.filter(({ level }) => level === WARNING)
        .map(({ msg }) => msg);
      expect(said?.join()).toMatch(/is idle.*KAFKA_PARTITIONS.*topics create/);
      await broker.publishTo(0, clicks(5));
      await untilSettled(database.pool, 10);
    },
    { KAFKA_PARTITIONS: '1' },
  );
});
