import type { Consumer } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import type { BrokerBacklog } from '../backlog.ts';
import { readCheckpoints, resetCheckpoints } from '../checkpoints.ts';
import { explainKafka, openKafka, withAdmin } from './client.ts';
import { readMessages } from './messages.ts';
import { kafkaSourceName, type Offsets, offsetOf, readOffsets, readOffsetsAt } from './positions.ts';

/** From where to where a partition is read. */
type Stretch = { readonly from: number; readonly to: number };

/** The books of a Kafka topic. */
export function createKafkaBacklog(config: Config, logger: Logger): BrokerBacklog {
  const { KAFKA_TOPIC: topic } = config;
  const source = kafkaSourceName(config);
  return {
    isInSnapshot: false,
    readWaiting: async (connection, take) => {
      // The snapshot comes first: what is in it as accepted was published before, and lies before these ends.
      const stored = await readCheckpoints(connection, source);
      const offsets = await withAdmin(config, logger, (admin) => readOffsets(admin, topic));
      const stretches = stretchesOf(stored, offsets);
      if (stretches.size > 0) await readStretches(config, logger, stretches, take);
    },
    rewind: (pool, since) =>
      withAdmin(config, logger, async (admin) => {
        const offsets = await readOffsets(admin, topic);
        const targets = await readOffsetsAt(admin, topic, since);
        const short = [...targets].some(([partition, offset]) => {
          const { low = 0 } = offsets.get(partition) ?? {};
          return low > 0 && offset <= low;
        });
        // What has no checkpoint, or an earlier one, is read from there anyway.
        const turned = await resetCheckpoints(pool, source, (partition, position) => {
          const target = targets.get(Number(partition));
          return target === undefined || offsetOf(position) <= target ? null : String(target);
        });
        let records = 0;
        for (const [partition, position] of turned)
          records += offsetOf(position) - (targets.get(Number(partition)) ?? 0);
        return { records, short };
      }),
  };
}

function stretchesOf(
  stored: ReadonlyMap<string, string>,
  offsets: ReadonlyMap<number, Offsets>,
): Map<number, Stretch> {
  const stretches = new Map<number, Stretch>();
  for (const [partition, { low, high }] of offsets) {
    const position = stored.get(String(partition));
    const kept = position === undefined ? low : offsetOf(position);
    // A checkpoint beyond the end is another topic's: see `startOf`.
    const from = kept > high ? low : Math.max(low, kept);
    if (from < high) stretches.set(partition, { from, to: high });
  }
  return stretches;
}

/** Reads stretches of partitions, as the one member of a group that is gone afterwards: kafkajs knows no other way. */
async function readStretches(
  config: Config,
  logger: Logger,
  stretches: ReadonlyMap<number, Stretch>,
  take: (records: readonly ReadRecord[]) => Promise<void>,
): Promise<void> {
  const { KAFKA_TOPIC: topic } = config;
  const groupId = `${config.KAFKA_GROUP}-books-${uuidV7()}`;
  const consumer = openKafka(config, 'backlog', logger).consumer({
    groupId,
    allowAutoTopicCreation: false,
    maxWaitTimeInMs: 100,
    retry: { retries: 2, restartOnFailure: async () => false },
  });
  const left = new Map(stretches);
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await readUntil(consumer, topic, left, take);
  } catch (error) {
    throw explainKafka(error, config);
  } finally {
    await consumer.disconnect().catch(() => {});
    await withAdmin(config, logger, (admin) => admin.deleteGroups([groupId])).catch(() => {});
  }
}

function readUntil(
  consumer: Consumer,
  topic: string,
  left: Map<number, Stretch>,
  take: (records: readonly ReadRecord[]) => Promise<void>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { GROUP_JOIN, END_BATCH_PROCESS, CRASH } = consumer.events;
    consumer.on(CRASH, ({ payload }) => reject(payload.error));
    consumer.on(GROUP_JOIN, ({ payload }) => {
      for (const partition of payload.memberAssignment[topic] ?? []) {
        const stretch = left.get(partition);
        if (stretch) consumer.seek({ topic, partition, offset: String(stretch.from) });
        else consumer.pause([{ topic, partitions: [partition] }]);
      }
    });
    consumer.on(END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
      const stretch = left.get(partition);
      if (!stretch) return;
      if (Number(lastOffset) + 1 < stretch.to)
        left.set(partition, { ...stretch, from: Number(lastOffset) + 1 });
      else {
        left.delete(partition);
        consumer.pause([{ topic, partitions: [partition] }]);
      }
      if (left.size === 0) resolve();
    });
    consumer
      .run({
        autoCommit: false,
        eachBatch: async ({ batch: { partition, messages } }) => {
          const { from, to } = left.get(partition) ?? { from: 0, to: 0 };
          const unread = messages.filter(({ offset }) => Number(offset) >= from && Number(offset) < to);
          const records = readMessages(unread, topic, partition);
          if (records.length > 0) await take(records);
        },
      })
      .catch(reject);
  });
}
