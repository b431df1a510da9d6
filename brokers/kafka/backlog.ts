import type { Consumer } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import type { BrokerBacklog } from '../backlog.ts';
import { readCheckpoints, resetCheckpoints } from '../checkpoints.ts';
import { openKafka, withAdmin } from './client.ts';
import { explainKafka } from './explain.ts';
import { readMessages } from './kafkajs-messages.ts';
import { kafkaSourceName, type Offsets, offsetOf, readOffsets, readOffsetsAt } from './positions.ts';

/** Offsets to read; `to` is exclusive. */
type OffsetRange = { readonly from: number; readonly to: number };

/** The backlog of a Kafka topic. */
export function createKafkaBacklog(config: Config, logger: Logger): BrokerBacklog {
  const { KAFKA_TOPIC: topic } = config;
  const source = kafkaSourceName(config);
  return {
    isInSnapshot: false,
    readWaiting: async (connection, take) => {
      // The end offsets are read after the snapshot: every click that the snapshot counts as accepted was published before them.
      const stored = await readCheckpoints(connection, source);
      const offsets = await withAdmin(config, logger, (admin) => readOffsets(admin, topic));
      const ranges = unsettledRanges(stored, offsets);
      if (ranges.size > 0) await readRanges(config, logger, ranges, take);
    },
    rewind: (pool, since) =>
      withAdmin(config, logger, async (admin) => {
        const offsets = await readOffsets(admin, topic);
        const targets = await readOffsetsAt(admin, topic, since);
        const short = [...targets].some(([partition, offset]) => {
          const { low = 0 } = offsets.get(partition) ?? {};
          return low > 0 && offset <= low;
        });
        // A partition without a checkpoint, or with an earlier one, is read from there in any case.
        const earlier = await resetCheckpoints(pool, source, (partition, position) => {
          const target = targets.get(Number(partition));
          return target === undefined || offsetOf(position) <= target ? null : String(target);
        });
        let records = 0;
        for (const [partition, position] of earlier)
          records += offsetOf(position) - (targets.get(Number(partition)) ?? 0);
        return { records, short };
      }),
  };
}

function unsettledRanges(
  stored: ReadonlyMap<string, string>,
  offsets: ReadonlyMap<number, Offsets>,
): Map<number, OffsetRange> {
  const ranges = new Map<number, OffsetRange>();
  for (const [partition, { low, high }] of offsets) {
    const position = stored.get(String(partition));
    const checkpoint = position === undefined ? low : offsetOf(position);
    // A checkpoint beyond the end belongs to another topic of this name: see `chooseStart`.
    const from = checkpoint > high ? low : Math.max(low, checkpoint);
    if (from < high) ranges.set(partition, { from, to: high });
  }
  return ranges;
}

/** Reads ranges of partitions as the only member of a temporary consumer group: kafkajs cannot read without a group. */
async function readRanges(
  config: Config,
  logger: Logger,
  ranges: ReadonlyMap<number, OffsetRange>,
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
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumeRanges(consumer, topic, new Map(ranges), take);
  } catch (error) {
    throw explainKafka(error, config);
  } finally {
    await consumer.disconnect().catch(() => {});
    await withAdmin(config, logger, (admin) => admin.deleteGroups([groupId])).catch(() => {});
  }
}

/** Consumes until every range in `left` is read. Removes the ranges that are done. */
function consumeRanges(
  consumer: Consumer,
  topic: string,
  left: Map<number, OffsetRange>,
  take: (records: readonly ReadRecord[]) => Promise<void>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { GROUP_JOIN, END_BATCH_PROCESS, CRASH } = consumer.events;
    consumer.on(CRASH, ({ payload }) => reject(payload.error));
    consumer.on(GROUP_JOIN, ({ payload }) => {
      for (const partition of payload.memberAssignment[topic] ?? []) {
        const range = left.get(partition);
        if (range) consumer.seek({ topic, partition, offset: String(range.from) });
        else consumer.pause([{ topic, partitions: [partition] }]);
      }
    });
    consumer.on(END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
      const range = left.get(partition);
      if (!range) return;
      if (Number(lastOffset) + 1 < range.to) left.set(partition, { ...range, from: Number(lastOffset) + 1 });
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
