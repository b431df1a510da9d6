import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import { inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { jarsAreMissing } from '../../emulators/kafka/jars.ts';
import { makeTopic } from '../support/kafka-topic.ts';
import { silent } from '../support/loggers.ts';
import { TestSpool } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';
import type { Server } from './broker.ts';
import { drivers } from './brokers.ts';
import { KAFKA_CLIENTS, kafkaForTests } from './kafka-broker.ts';
import { startKafkaCluster } from './kafka-cluster.ts';
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

describe.skipIf(skipped).each(KAFKA_CLIENTS)('a publisher to a cluster of Kafka with %s', (client) => {
  it('does not report records as published that it sent to a broker which has just lost its partition', {
    timeout: 120_000,
  }, async () => {
    const cluster = await startKafkaCluster();
    const unused = async () => undefined;
    const server = kafkaForTests({
      brokers: cluster.brokers,
      isControllable: false,
      kill: unused,
      start: unused,
      suspend: unused,
      resume: unused,
      stop: cluster.stop,
    });
    const topic = 'clicks';
    const config = parseConfig({
      KAFKA_CLIENT: client,
      KAFKA_BROKERS: cluster.brokers,
      KAFKA_TOPIC: topic,
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
      await makeTopic(admin, { topic, replicaAssignment });
      const held = async () =>
        (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0);
      const spool = new TestSpool();
      const clicks = () => Array.from({ length: 1_000 }, () => spool.click());
      await publisher.publish(clicks());
      expect(await held()).toBe(1_000);
      await admin.alterPartitionReassignments({
        topics: [{ topic, partitionAssignment: [{ partition: 1, replicas: [1] }] }],
      });
      const leaders = async () =>
        (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]?.partitions.map(
          ({ leader }) => leader,
        );
      await until(
        'broker 1 to lead all partitions',
        async () => (await leaders())?.every((leader) => leader === 1) ?? false,
      );
      // As the relay does: rejected records are sent again, others are forgotten.
      const batch = clicks();
      await until('the batch to be published', () =>
        publisher.publish(batch).then(
          () => true,
          () => false,
        ),
      );
      expect(await held()).toBeGreaterThanOrEqual(2_000);
    } finally {
      await publisher.close();
      await server.stop();
    }
  });
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
