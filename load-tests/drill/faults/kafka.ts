import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Admin } from 'kafkajs';
import { createTopic, withAdmin } from '../../../brokers/kafka/client.ts';
import { createKafkaPublisher } from '../../../brokers/kafka/publisher.ts';
import { parseConfig } from '../../../common/config/config.ts';
import { sleep } from '../../../common/process.ts';
import { createLogger } from '../../../common/telemetry/logger.ts';
import { watermarkRecord } from '../../../contract/click-event.ts';
import { freePorts } from '../../../emulators/process/free-ports.ts';
import { type GuardedProcess, openGuard } from '../../../emulators/process/guarded-process.ts';
import type { Drill, World } from '../drill.ts';
import { unsetSettings } from '../drill-stack.ts';
import { untilTrue } from '../until-true.ts';
import { lockTable } from './database.ts';

const PROCESSOR = join(import.meta.dirname, '..', '..', '..', 'processor', 'main.ts');
const READY_MS_MAX = 60_000;
/** Longest wait until Kafka has deleted records, in ms. */
const DELETED_MS_MAX = 20_000;
const LOST = 30;
const PUBLISH_MS = 500;

/** A processor that reads a Kafka of its own into the ledger of the stack, beside the processor of the stack. */
type KafkaProcessor = {
  readonly process: GuardedProcess;
  /** Publishes records that change no number of the ledger: watermarks of a spool without clicks. */
  readonly publish: (count: number) => Promise<void>;
  /** Deletes all records of the topic, as Kafka does when their retention ends. */
  readonly deleteRecords: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

/** Starts Kafka and its processor, and waits until Prometheus has scraped the processor. Throws what to install if Kafka is missing. */
async function startKafkaProcessor({
  stack,
  targets,
  prometheus,
  startKafka,
}: World): Promise<KafkaProcessor> {
  const kafka = await startKafka();
  const guard = await openGuard(join(tmpdir(), 'tollway-drill-kafka-'));
  const [port = 0] = await freePorts(1);
  const given = {
    BROKER: 'kafka',
    DATABASE_URL: stack.databaseUrl,
    KAFKA_BROKERS: kafka.brokers,
    KAFKA_TOPIC: `drill-${randomUUID()}`,
    KAFKA_PARTITIONS: '1',
    PROCESSOR_OPS_PORT: String(port),
    LOG_LEVEL: 'error',
  };
  const config = parseConfig(given);
  const logger = createLogger('drill', config);
  const stop = async () => {
    prometheus.setTargets(targets);
    await guard.end();
    await kafka.stop();
  };
  try {
    await createTopic(config, logger);
    const child = await guard.run(process.execPath, [PROCESSOR], { ...unsetSettings(), ...given });
    const instance = `127.0.0.1:${port}`;
    prometheus.setTargets({ ...targets, processor: [...(targets.processor ?? []), instance] });
    const reads = `tollway_broker_up{instance="${instance}"} == 1`;
    await untilTrue(reads, async () => (await prometheus.query(reads)).length > 0, READY_MS_MAX);
    const publisher = await createKafkaPublisher(config, logger);
    const watermark = watermarkRecord(randomUUID(), 0);
    return {
      process: child,
      publish: async (count) => {
        const unpublished = await publisher.publish(Array.from({ length: count }, () => watermark));
        if (unpublished.length > 0)
          throw new Error(`expected Kafka to take ${count} records, got ${unpublished.length} back`);
      },
      deleteRecords: () => withAdmin(config, logger, (admin) => deleteAll(admin, config.KAFKA_TOPIC)),
      stop: async () => {
        await publisher.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function deleteAll(admin: Admin, topic: string): Promise<void> {
  // kafkajs deletes only from topics whose leaders it knows. On a busy machine it learns them late.
  await admin.fetchTopicMetadata({ topics: [topic] });
  // The offset -1 is the end of the partition.
  const request = { topic, partitions: [{ partition: 0, offset: '-1' }] };
  const isDeleted = () => admin.deleteTopicRecords(request).then(() => true);
  await untilTrue('deleted records', isDeleted, DELETED_MS_MAX);
}

/** Drills of a broker with offsets. They need Kafka: Docker, or Java and Maven. */
export const kafkaDrills: readonly Drill[] = [
  {
    cause: 'Kafka deletes records while the processor hangs',
    alerts: { TollwayRecordsLost: [] },
    isGentle: false,
    begin: async (world) => {
      const kafka = await startKafkaProcessor(world);
      try {
        // Until it has a checkpoint, the processor begins at the first record that Kafka still has, and nothing counts as lost.
        await kafka.publish(1);
        const moved = "select from broker_checkpoint where source like '%drill-%' and position = '1'";
        const hasMoved = async () => (await world.pool.query(moved)).rowCount !== 0;
        await untilTrue('a checkpoint behind the first record', hasMoved, READY_MS_MAX);
        await kafka.process.suspend();
        await kafka.publish(LOST);
        await kafka.deleteRecords();
        kafka.process.signal('SIGCONT');
        return kafka.stop;
      } catch (error) {
        await kafka.stop();
        throw error;
      }
    },
  },
  {
    cause: 'another session locks the checkpoints of Kafka',
    // An attempt waits for the lock for up to 30 s.
    alerts: { TollwayCheckpointsStuck: [['[5s]', '[1m]']] },
    isGentle: false,
    begin: async (world) => {
      const kafka = await startKafkaProcessor(world);
      const unlock = await lockTable(world.pool, 'broker_checkpoint');
      const stopping = new AbortController();
      const records = repeatPublish(kafka, stopping.signal);
      return async () => {
        stopping.abort();
        await unlock();
        await records;
        await kafka.stop();
      };
    },
  },
];

async function repeatPublish(kafka: KafkaProcessor, stop: AbortSignal): Promise<void> {
  for (; !stop.aborted; await sleep(PUBLISH_MS, stop)) {
    // A record that Kafka does not take is no fault: the next one moves the checkpoint as well.
    await kafka.publish(1).catch(() => undefined);
  }
}
