import { type Admin, Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadPlatformatic } from '../../brokers/kafka/platformatic.ts';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import { errorMessage } from '../../common/errors.ts';
import { inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { jarsAreMissing } from '../../emulators/kafka/jars.ts';
import { makeTopic } from '../support/kafka-topic.ts';
import { silent } from '../support/loggers.ts';
import { TestSpool } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';
import type { Server } from './broker.ts';
import { drivers } from './brokers.ts';
import { clusterForTests, KAFKA_CLIENTS } from './kafka-broker.ts';
import { type KafkaCluster, startKafkaCluster } from './kafka-cluster.ts';
import {
  backUp,
  expectAllCharged,
  restore,
  untilCheckpointed,
  untilSettled,
  withEnvironment,
} from './test-environment.ts';

const missing = await jarsAreMissing();
const skipped = isSkipped(missing === null ? null : `A Kafka cluster is missing: install ${missing}`);

type ClusterTest = {
  readonly cluster: KafkaCluster;
  readonly admin: Admin;
  readonly publisher: Publisher;
  /** The number of records that each partition of the topic has taken. */
  readonly held: () => Promise<number[]>;
};

const TOPIC = 'clicks';

/** Runs `work` with two brokers and a topic with a partition on each: partition 0 on broker 1, partition 1 on broker 2. */
async function withCluster(client: string, work: (test: ClusterTest) => Promise<void>): Promise<void> {
  const cluster = await startKafkaCluster();
  const server = clusterForTests(cluster);
  const config = parseConfig({
    KAFKA_CLIENT: client,
    KAFKA_BROKERS: cluster.brokers,
    KAFKA_TOPIC: TOPIC,
    KAFKA_PARTITIONS: '2',
  });
  const publisher = await createKafkaPublisher(config, silent);
  try {
    const admin = await server.admin();
    await until(
      'two brokers in the cluster',
      async () => (await admin.describeCluster()).brokers.length === 2,
    );
    const replicaAssignment = [1, 2].map((id) => ({ partition: id - 1, replicas: [id] }));
    await makeTopic(admin, { topic: TOPIC, replicaAssignment });
    const held = async () => {
      const offsets = await admin.fetchTopicOffsets(TOPIC);
      return offsets.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high));
    };
    await work({ cluster, admin, publisher, held });
  } finally {
    await publisher.close();
    await server.stop();
  }
}

/** The accepted counts of the watermarks in partition 0. */
async function readWatermarks({ cluster, held }: ClusterTest): Promise<number[]> {
  const [wanted = 0] = await held();
  const consumer = new Kafka({ brokers: [cluster.brokers], logLevel: logLevel.NOTHING }).consumer({
    groupId: 'reader of watermarks',
  });
  const accepted: number[] = [];
  let read = 0;
  await consumer.connect();
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      if (partition !== 0) return;
      read += 1;
      const { watermark } = JSON.parse(String(message.value)) as { watermark?: { accepted: number } };
      if (watermark) accepted.push(watermark.accepted);
    },
  });
  await until('every record of partition 0', () => read >= wanted).finally(() => consumer.disconnect());
  return accepted;
}

const clicksOf = (spool: TestSpool) => Array.from({ length: 1_000 }, () => spool.click());
const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

describe.skipIf(skipped).each(KAFKA_CLIENTS)('a publisher to a cluster of Kafka with %s', (client) => {
  it(
    'does not report records as published that it sent to a broker which has just lost its partition',
    {
      timeout: 120_000,
    },
    () =>
      withCluster(client, async ({ admin, publisher, held }) => {
        const spool = new TestSpool();
        await publisher.publish(clicksOf(spool));
        expect(sum(await held())).toBe(1_000);
        await admin.alterPartitionReassignments({
          topics: [{ topic: TOPIC, partitionAssignment: [{ partition: 1, replicas: [1] }] }],
        });
        const leaders = async () =>
          (await admin.fetchTopicMetadata({ topics: [TOPIC] })).topics[0]?.partitions.map(
            ({ leader }) => leader,
          );
        await until(
          'broker 1 to lead all partitions',
          async () => (await leaders())?.every((leader) => leader === 1) ?? false,
        );
        // As the relay does: rejected records are sent again, others are forgotten.
        const batch = clicksOf(spool);
        await until('the batch to be published', () =>
          publisher.publish(batch).then(
            () => true,
            () => false,
          ),
        );
        expect(sum(await held())).toBeGreaterThanOrEqual(2_000);
      }),
  );
});

describe.skipIf(skipped)('a publisher to a cluster of Kafka with platformatic', () => {
  it(
    'sends a watermark to every partition that has a leader, and clicks do not wait for the others',
    {
      timeout: 120_000,
    },
    () =>
      withCluster('platformatic', async (test) => {
        const { cluster, publisher } = test;
        const { metadataV9 } = await loadPlatformatic();
        const spool = new TestSpool();
        const send = () => publisher.publishEverywhere(spool.watermark()).then(() => 'sent', errorMessage);
        await publisher.publish(clicksOf(spool));
        expect(await send()).toBe('sent');
        await cluster.nodes[1].kill();
        const noLeader = 'Partition 1 accepted no clicks: it has no leader';
        await until('a partition without a leader', async () => (await send()) === noLeader, 30_000);
        await publisher.publish(clicksOf(spool));
        const { accepted } = spool;
        const readMetadata = metadataV9.api.async;
        const { promise: answers, resolve: answer } = Promise.withResolvers<void>();
        const request = vi.spyOn(metadataV9.api, 'async').mockImplementation(async (...question) => {
          await answers;
          return readMetadata(...question);
        });
        try {
          expect(await send()).toBe(noLeader);
          // Kafka does not say what the leaders are, and the client knows one.
          const published = publisher.publish(clicksOf(spool)).then(() => 'published');
          expect(await Promise.race([published, sleep(5_000)])).toBe('published');
        } finally {
          answer();
          request.mockRestore();
        }
        await cluster.nodes[1].start();
        await until('a watermark in every partition', async () => (await send()) === 'sent');
        expect(await readWatermarks(test)).toContain(accepted);
      }),
  );
});

describe.each(drivers.filter(({ name }) => name !== 'postgres'))(
  'a consumer of $name',
  ({ driver, skipped }) => {
    let server: Server;
    beforeAll(async () => {
      if (!skipped) server = await driver.start();
    }, 120_000);
    afterAll(() => server?.stop());

    it.skipIf(skipped)(
      'reads clicks again whose commits a failover has lost before a checkpoint had passed them',
      { timeout: 60_000 },
      () =>
        withEnvironment(server, async (environment) => {
          const { broker, clicks, database } = environment;
          const consumer = await environment.consume();
          await broker.publishTo(0, clicks(10));
          await untilSettled(database.pool, 10, consumer);
          await untilCheckpointed(environment);
          const standby = await backUp(environment);
          // The last commits before a crash: clicks are settled, and no checkpoint has passed them yet.
          const lock = await database.pool.connect();
          lock.on('error', () => undefined);
          await lock.query('begin');
          await lock.query('lock table broker_checkpoint in share mode');
          await broker.publishTo(0, clicks(10));
          await untilSettled(database.pool, 21, consumer);
          await restore(environment, standby);
          lock.release(true);
          await broker.publishTo(0, clicks(10));
          await untilSettled(database.pool, 31, consumer, 15_000);
          await expectAllCharged(environment);
        }),
    );

    it.skipIf(skipped)(
      'reads again commits that the database has lost, although connections and checkpoints were kept',
      { timeout: 60_000 },
      () =>
        withEnvironment(server, async (environment) => {
          const { broker, clicks, database } = environment;
          const consumer = await environment.consume();
          await broker.publishTo(0, clicks(10));
          await untilSettled(database.pool, 10, consumer);
          await untilCheckpointed(environment);
          const lock = await database.pool.connect();
          await lock.query('begin');
          await lock.query('lock table broker_checkpoint in share mode');
          const lost = clicks(10);
          await broker.publishTo(0, lost);
          await untilSettled(database.pool, 21, consumer);
          await loseCommits(
            database.pool,
            lost.map(({ click }) => click.clickId),
          );
          await lock.query('commit');
          lock.release();
          await untilSettled(database.pool, 21, consumer, 15_000);
          expect(consumer.logged.map(({ msg }) => msg)).toContainEqual(
            expect.stringContaining('The database has lost commits'),
          );
          await expectAllCharged(environment);
        }),
    );

    it.skipIf(skipped)(
      'writes the last checkpoint if it stops while checkpoints are written',
      { timeout: 60_000 },
      () =>
        withEnvironment(server, async (environment) => {
          const { broker, clicks, database } = environment;
          await broker.publishTo(0, clicks(10));
          const first = await environment.consume();
          await untilSettled(database.pool, 10, first);
          await untilCheckpointed(environment);
          await database.pool.query(
            `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$`,
          );
          await database.pool.query(
            'create trigger slow before update on broker_checkpoint for each row execute function slow()',
          );
          await broker.publishTo(0, clicks(10));
          const writes = `select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`;
          await until(
            'a transaction that writes',
            async () => ((await database.pool.query(writes)).rowCount ?? 0) > 0,
          );
          await broker.publishTo(0, clicks(10));
          await untilSettled(database.pool, 31, first);
          await first.stop();
          const second = await environment.consume();
          await broker.publishTo(0, clicks(1));
          await untilSettled(database.pool, 32, second);
          expect(await second.duplicates()).toBe(0);
        }),
    );
  },
);

/** Undoes the transactions that charged clicks, as a failover to a standby that had not received them. */
async function loseCommits(pool: Pool, clickIds: readonly string[]): Promise<void> {
  await inTransaction(pool, async (connection) => {
    const clicks = [clickIds];
    await connection.query(
      `delete from spool_counter where xmin::text in (select xmin::text from ledger where click_id = any($1::uuid[]))`,
      clicks,
    );
    await connection.query(
      `update advertiser set spent_micros = spent_micros - lost.micros
       from (select advertiser_id, sum(charged_micros) as micros from ledger where click_id = any($1::uuid[]) group by 1) lost
       where id = lost.advertiser_id`,
      clicks,
    );
    const { rowCount } = await connection.query(
      'delete from ledger where click_id = any($1::uuid[])',
      clicks,
    );
    expect(rowCount).toBe(clickIds.length);
  });
}
