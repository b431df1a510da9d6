import { type Admin, Kafka, logLevel } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import { sleep } from '../../common/process.ts';
import { clickKey, encodeClick } from '../../contract/click-event.ts';
import { jarsAreMissing } from '../../emulators/kafka/jars.ts';
import type { Spool } from '../../producer/spool.ts';
import { makeTopic } from '../support/kafka-topic.ts';
import { silent } from '../support/loggers.ts';
import { clickEvent } from '../support/records.ts';
import { type RelayFixture, startRelay } from '../support/relay-fixture.ts';
import { isSkipped } from '../support/skipped.ts';
import { append, openSpool } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';
import { clusterForTests, KAFKA_CLIENTS } from './kafka-broker.ts';
import { type KafkaCluster, startKafkaCluster } from './kafka-cluster.ts';

// Brokers are killed, frozen and restarted, and leaders move, while clicks are published.

const missing = await jarsAreMissing();
const skipped = isSkipped(missing === null ? null : `A Kafka cluster is missing: install ${missing}`);

/** How long faults are injected, at least: each happens once in any case. FAULT_SECONDS makes it longer. */
const FAULTS_MS = Number(process.env.FAULT_SECONDS ?? 15) * 1_000;
const TOPIC = 'clicks';
const PARTITIONS = 4;
const CLICKS_AT_ONCE = 40;
const PACE_MS = 10;

/** Four partitions, each on both brokers. One replica in sync is enough, so that clicks are accepted while a broker is away. */
async function openTopic(admin: Admin): Promise<void> {
  await until('two brokers', async () => (await admin.describeCluster()).brokers.length === 2, 30_000);
  const replicaAssignment = Array.from({ length: PARTITIONS }, (_, partition) => ({
    partition,
    replicas: partition % 2 === 0 ? [1, 2] : [2, 1],
  }));
  await makeTopic(admin, {
    topic: TOPIC,
    replicaAssignment,
    configEntries: [{ name: 'min.insync.replicas', value: '1' }],
  });
}

/** Moves all partitions to one broker alone, or back to both, and with them their leaders. */
async function moveTo(admin: Admin, replicas: number[]): Promise<void> {
  const partitionAssignment = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, replicas }));
  await admin.alterPartitionReassignments({ topics: [{ topic: TOPIC, partitionAssignment }] });
}

/** The faults, in the order in which they are injected again and again. Broker 1 also controls the cluster: while it is away, no leader moves. */
const FAULTS: readonly ((cluster: KafkaCluster, admin: Admin) => Promise<void>)[] = [
  async ({ nodes: [, second] }) => {
    await second.kill();
    await sleep(500);
    await second.start();
  },
  async (_, admin) => moveTo(admin, [1]),
  async ({ nodes: [first] }) => {
    await first.suspend();
    await sleep(1_500);
    first.resume();
  },
  async (_, admin) => moveTo(admin, [2, 1]),
  async ({ nodes: [first] }) => {
    await first.kill();
    await sleep(500);
    await first.start();
  },
  async (_, admin) => moveTo(admin, [1, 2]),
];

/** Appends clicks to the spool until `isOver`; returns their number. */
async function appendUntil(spool: Spool, isOver: () => boolean): Promise<number> {
  let appended = 0;
  while (!isOver()) {
    await append(
      spool,
      Array.from({ length: CLICKS_AT_ONCE }, () => encodeClick(clickEvent())),
    );
    appended += CLICKS_AT_ONCE;
    await sleep(PACE_MS);
  }
  return appended;
}

async function injectFaults(cluster: KafkaCluster, admin: Admin): Promise<void> {
  const endsAt = performance.now() + FAULTS_MS;
  do {
    for (const inject of FAULTS) {
      // A leader cannot be moved while brokers are missing.
      await inject(cluster, admin).catch(() => {});
      await sleep(300);
    }
  } while (performance.now() < endsAt);
}

/** Every key on the topic. */
async function readKeys(brokers: string, admin: Admin): Promise<Set<string>> {
  const offsets = await admin.fetchTopicOffsets(TOPIC);
  const held = offsets.reduce((sum, { low, high }) => sum + Number(high) - Number(low), 0);
  const keys = new Set<string>();
  let read = 0;
  const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: 'reader of every key' });
  await consumer.connect();
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
  await consumer.run({
    eachBatch: async ({ batch }) => {
      for (const { key } of batch.messages) keys.add(String(key));
      read += batch.messages.length;
    },
  });
  await until('every record', () => read >= held, 60_000).finally(() => consumer.disconnect());
  return keys;
}

const failuresOf = async ({ metrics }: RelayFixture) =>
  (await metrics.relayBatches.get()).values.find(({ labels }) => labels.result === 'failed')?.value ?? 0;

describe.skipIf(skipped).each(KAFKA_CLIENTS)('a publisher with %s', (client) => {
  it('loses no click while brokers die and leaders move', { timeout: 300_000 + 2 * FAULTS_MS }, async () => {
    const cluster = await startKafkaCluster();
    const server = clusterForTests(cluster);
    const config = parseConfig({
      KAFKA_CLIENT: client,
      KAFKA_BROKERS: cluster.brokers,
      KAFKA_TOPIC: TOPIC,
    });
    const publisher = await createKafkaPublisher(config, silent);
    try {
      const admin = await server.admin();
      await openTopic(admin);
      const spool = openSpool();
      const fixture = startRelay(spool, publisher, { batchMax: 200, watermarkIntervalMs: 500 });
      let isOver = false;
      const appending = appendUntil(spool, () => isOver);
      await injectFaults(cluster, admin);
      isOver = true;
      const accepted = await appending;
      expect(spool.accepted).toBe(accepted);
      expect(await failuresOf(fixture)).toBeGreaterThan(0);
      fixture.relay.end();
      expect(await fixture.done).toBe(true);
      const keys = await readKeys(cluster.brokers, admin);
      const lost = Array.from({ length: accepted }, (_, index) => clickKey(spool.spoolId, index + 1)).filter(
        (key) => !keys.has(key),
      );
      expect(lost).toEqual([]);
      expect(keys).toContain(`${spool.spoolId}.watermark`);
    } finally {
      await publisher.close();
      await server.stop();
    }
  });
});
