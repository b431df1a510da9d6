import type { Admin } from 'kafkajs';
import type { Config, StartPosition } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { beginCheckpoints, readCheckpoints } from '../checkpoints.ts';

/** The offsets that a partition holds: the first it still has, and the one that comes next. */
export type Offsets = { readonly low: number; readonly high: number };

/** The name of the topic's checkpoints. */
export function kafkaSourceName(config: Config): string {
  return `kafka ${config.KAFKA_TOPIC}`;
}

/** A checkpoint that nobody has moved yet: where the very first start was told to begin. */
const FIRST = 'first ';

/** Whether a checkpoint is one that nobody has moved yet. */
export function isFirst(position: string): boolean {
  return position.startsWith(FIRST);
}

/** The offset that a checkpoint names. */
export function offsetOf(position: string): number {
  return Number(isFirst(position) ? position.slice(FIRST.length) : position);
}

/** Whether a checkpoint was set back from `known`; if not, another processor has moved it on. Absent: it was deleted. */
export function isSetBack(position: string | undefined, known: string): boolean {
  return position === undefined || offsetOf(position) < offsetOf(known);
}

/** What each partition of the topic holds now. */
export async function readOffsets(admin: Admin, topic: string): Promise<Map<number, Offsets>> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return new Map(
    offsets.map(({ partition, low, high }) => [partition, { low: Number(low), high: Number(high) }]),
  );
}

/** Where reading a partition begins, and what that says. */
export type Start = {
  readonly offset: number;
  /** Records that were not read and that the broker has no more. */
  readonly lost: number;
  /** Something to be told to a person, or `null`. */
  readonly notice: string | null;
};

/**
 * Decides where reading begins. A checkpoint is kept twice, with the ledger and in the group, and the lower one counts, because
 * each knows what the other cannot: the ledger's goes back with the database when that is restored, the group's is gone when
 * the topic was made anew or is another cluster's. Without either, reading begins with the first record there is: what was
 * read before is found to be a duplicate, what was not is not skipped.
 */
export function startOf(offsets: Offsets, stored: string | undefined, committed: number | null): Start {
  const { low, high } = offsets;
  if (stored === undefined) return { offset: low, lost: 0, notice: null };
  const kept = offsetOf(stored);
  if (kept > high) {
    const notice = `The checkpoint ${kept} lies beyond the end of the partition, ${high}: the topic is another one. All of it is read`;
    return { offset: low, lost: 0, notice };
  }
  if (kept < low) {
    const notice = `The broker has deleted records that were not read: ${low - kept}, from offset ${kept} on`;
    return { offset: low, lost: low - kept, notice };
  }
  if (committed === null && !isFirst(stored)) {
    const notice = `The group has no offset, though the ledger has the checkpoint ${kept}: all that the broker keeps is read`;
    return { offset: low, lost: 0, notice: low === kept ? null : notice };
  }
  return { offset: Math.max(low, Math.min(kept, committed ?? kept)), lost: 0, notice: null };
}

/**
 * At the very first start of all, writes down where every partition begins. Partitions that come later have no checkpoint and
 * are read from their first record on.
 */
export async function beginTopic(pool: Pool, admin: Admin, config: Config): Promise<void> {
  const source = kafkaSourceName(config);
  if ((await readCheckpoints(pool, source)).size > 0) return;
  const offsets = await readOffsets(admin, config.KAFKA_TOPIC);
  const chosen = await choose(admin, config.KAFKA_TOPIC, config.START_POSITION, offsets);
  await beginCheckpoints(
    pool,
    source,
    new Map([...chosen].map(([partition, offset]) => [String(partition), `${FIRST}${offset}`])),
  );
}

async function choose(
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

/** The first offset of each partition whose record is as young as a time; where there is none, the end. */
export async function readOffsetsAt(admin: Admin, topic: string, time: Date): Promise<Map<number, number>> {
  const offsets = await admin.fetchTopicOffsetsByTimestamp(topic, time.getTime());
  return new Map(offsets.map(({ partition, offset }) => [partition, Number(offset)]));
}
