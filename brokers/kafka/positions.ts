import type { Admin } from 'kafkajs';
import type { Config, StartPosition } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { beginCheckpoints, readCheckpoints } from '../checkpoints.ts';

/** The offsets of a partition: the first that it still holds, and the one after the last. */
export type Offsets = { readonly low: number; readonly high: number };

/** The name of the topic's checkpoints. */
export function kafkaSourceName(config: Config): string {
  return `kafka ${config.KAFKA_TOPIC}`;
}

/** Prefix of a checkpoint that was never moved: `START_POSITION` of the first start. */
const FIRST = 'first ';

/** Whether a checkpoint was never moved. */
export function isFirst(position: string): boolean {
  return position.startsWith(FIRST);
}

/** The offset of a checkpoint. */
export function offsetOf(position: string): number {
  return Number(isFirst(position) ? position.slice(FIRST.length) : position);
}

/** Whether a checkpoint was set back from `known`, or deleted (`undefined`). If not, another processor has moved it forward. */
export function isSetBack(position: string | undefined, known: string): boolean {
  return position === undefined || offsetOf(position) < offsetOf(known);
}

/** The current offsets of each partition of the topic. */
export async function readOffsets(admin: Admin, topic: string): Promise<Map<number, Offsets>> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return new Map(
    offsets.map(({ partition, low, high }) => [partition, { low: Number(low), high: Number(high) }]),
  );
}

/** Where reading a partition starts. */
export type Start = {
  readonly offset: number;
  /** Number of unread records that the broker has deleted. */
  readonly lost: number;
  /** A message for the log, or `null`. */
  readonly notice: string | null;
};

/**
 * Chooses where reading a partition starts. The checkpoint is stored in the database and in the consumer group, and the lower one counts,
 * because each shows what the other cannot: that of the database goes back when the database is restored; that of the group is gone if the
 * topic was created again or belongs to another cluster. If either is missing, reading starts at the first record, so that no record is
 * skipped; records that were read before become duplicates.
 */
export function chooseStart(offsets: Offsets, stored: string | undefined, committed: number | null): Start {
  const { low, high } = offsets;
  if (stored === undefined) return { offset: low, lost: 0, notice: null };
  const checkpoint = offsetOf(stored);
  if (checkpoint > high) {
    const notice = `The checkpoint ${checkpoint} is beyond the end of the partition, ${high}, so this is another topic. All of it is read`;
    return { offset: low, lost: 0, notice };
  }
  if (checkpoint < low) {
    const notice = `The broker has deleted records that were not read: ${low - checkpoint}, from offset ${checkpoint} on`;
    return { offset: low, lost: low - checkpoint, notice };
  }
  if (committed === null && !isFirst(stored)) {
    const notice = `The consumer group has no offset, although the ledger has the checkpoint ${checkpoint}. All that the broker keeps is read`;
    return { offset: low, lost: 0, notice: low === checkpoint ? null : notice };
  }
  return { offset: Math.max(low, Math.min(checkpoint, committed ?? checkpoint)), lost: 0, notice: null };
}

/**
 * Writes the first checkpoint of every partition, at the first start with this topic. Partitions that are added later have no checkpoint
 * and are read from their first record on.
 */
export async function beginTopic(pool: Pool, admin: Admin, config: Config): Promise<void> {
  const source = kafkaSourceName(config);
  if ((await readCheckpoints(pool, source)).size > 0) return;
  const offsets = await readOffsets(admin, config.KAFKA_TOPIC);
  const first = await firstOffsets(admin, config.KAFKA_TOPIC, config.START_POSITION, offsets);
  await beginCheckpoints(
    pool,
    source,
    new Map([...first].map(([partition, offset]) => [String(partition), `${FIRST}${offset}`])),
  );
}

async function firstOffsets(
  admin: Admin,
  topic: string,
  start: StartPosition,
  offsets: ReadonlyMap<number, Offsets>,
): Promise<Map<number, number>> {
  if (start instanceof Date) return readOffsetsAt(admin, topic, start);
  return new Map(
    [...offsets].map(([partition, { low, high }]) => [partition, start === 'latest' ? high : low]),
  );
}

/** The offset of the first record of each partition that was published at `time` or later; the end if there is none. */
export async function readOffsetsAt(admin: Admin, topic: string, time: Date): Promise<Map<number, number>> {
  const offsets = await admin.fetchTopicOffsetsByTimestamp(topic, time.getTime());
  return new Map(offsets.map(({ partition, offset }) => [partition, Number(offset)]));
}
