import type { Admin, Consumer, Kafka } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { errorMessage } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { SettledPartition } from '../checkpoint-writer.ts';
import { isFirst } from './positions.ts';

/** A member without a heartbeat for this long, in ms, leaves the group; its partitions go to the other members. */
const SESSION_MS = 10_000;
const HEARTBEAT_MS = 2_000;
const REBALANCE_MS = 20_000;
/** Limits of one fetch of kafkajs, in bytes. The broker waits for `FETCH_BYTES_MIN` at most `BATCH_WINDOW_MS`. */
const FETCH_BYTES_MAX = 1_048_576;
const FETCH_BYTES_MIN = 131_072;
const PARTITION_BYTES_MAX = 262_144;
/** Time until a new partition is noticed, in ms. */
const METADATA_AGE_MS = 30_000;
/** Maximum wait for the group to store offsets, in ms. */
const COMMIT_MS_MAX = 2_000;

/** The consumer of `KAFKA_GROUP`. Not connected yet. */
export function createConsumer(kafka: Kafka, config: Config): Consumer {
  return kafka.consumer({
    groupId: config.KAFKA_GROUP,
    allowAutoTopicCreation: false,
    sessionTimeout: SESSION_MS,
    heartbeatInterval: HEARTBEAT_MS,
    rebalanceTimeout: REBALANCE_MS,
    metadataMaxAge: METADATA_AGE_MS,
    // kafkajs sends no heartbeat while a fetch waits.
    maxWaitTimeInMs: Math.min(config.BATCH_WINDOW_MS, HEARTBEAT_MS),
    minBytes: FETCH_BYTES_MIN,
    maxBytes: FETCH_BYTES_MAX,
    maxBytesPerPartition: PARTITION_BYTES_MAX,
    // After a crash the source starts it again: without limit, and never while it stops.
    retry: {
      retries: 2,
      initialRetryTime: 100,
      maxRetryTime: 1_000,
      restartOnFailure: () => Promise.resolve(false),
    },
  });
}

/** The offsets that the group has stored; a partition without one is absent. */
export async function readCommitted(admin: Admin, config: Config): Promise<Map<number, number>> {
  const { KAFKA_TOPIC: topic, KAFKA_GROUP: groupId } = config;
  const [group] = await admin.fetchOffsets({ groupId, topics: [topic] });
  const all = group?.partitions.map(({ partition, offset }) => [partition, Number(offset)] as const) ?? [];
  return new Map(all.filter(([, offset]) => offset >= 0));
}

/** Stores offsets in the group. Resolves to whether the group has them; waits at most 2 s. */
export async function commitOffsets(
  { consumer, admin, config, logger }: { consumer: Consumer; admin: Admin; config: Config; logger: Logger },
  partitions: readonly SettledPartition<unknown>[],
): Promise<boolean> {
  const offsets = partitions
    .filter(({ tracker, next }) => tracker.known !== next)
    .map(({ partition, next }) => ({
      topic: config.KAFKA_TOPIC,
      partition: Number(partition),
      offset: next,
    }));
  if (offsets.length === 0) return true;
  // kafkajs also resolves when it has sent nothing, for example while it rejoins. Once the group has an offset, a lower one is harmless;
  // a missing one counts as a topic that was created again (see `chooseStart`). So the first offsets are read back.
  const isStored = async () => {
    if (!partitions.some(({ tracker }) => isFirst(tracker.known))) return true;
    const stored = await readCommitted(admin, config);
    return offsets.every(({ partition }) => stored.has(partition));
  };
  const committed = consumer
    .commitOffsets(offsets)
    .then(isStored)
    .catch((error: unknown) => {
      logger.debug({ problem: errorMessage(error) }, 'The group does not store offsets');
      return false;
    });
  return Promise.race([committed, sleep(COMMIT_MS_MAX).then(() => false)]);
}

/** Waits for `work` and sends heartbeats, so that this process stays a member of the group. Throws when the group rebalances. */
export async function withHeartbeats(work: Promise<void>, heartbeat: () => Promise<void>): Promise<void> {
  let done = false;
  const ended = work.finally(() => {
    done = true;
  });
  for (;;) {
    const timer = new AbortController();
    await Promise.race([ended, sleep(HEARTBEAT_MS / 2, timer.signal)]);
    timer.abort();
    if (done) return ended;
    await heartbeat();
  }
}
