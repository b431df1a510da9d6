import { GetShardIteratorCommand, type KinesisClient, type Shard } from '@aws-sdk/client-kinesis';
import type { Config, StartPosition } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { beginCheckpoints, readCheckpoints } from '../checkpoints.ts';
import { listShards, type Stream } from './client.ts';

/**
 * Checkpoints of a shard: `first record`, `since <time>`, `after <sequence number> <time>`, and `end` once all of a closed
 * shard is settled. The time is one up to which the shard is known to be read.
 */
export const FIRST_RECORD = 'first record';
export const END = 'end';
const SINCE = 'since ';
const AFTER = 'after ';

/** The position of all that arrived at a time or later. */
export function sincePosition(time: Date): string {
  return `${SINCE}${time.toISOString()}`;
}

/** The position behind a record. */
export function afterPosition(sequenceNumber: string, readUntil: Date): string {
  return `${AFTER}${sequenceNumber} ${readUntil.toISOString()}`;
}

/** The same position, known to be read up to a later time. */
export function refreshed(position: string, readUntil: Date): string {
  const [, sequenceNumber = ''] = position.split(' ');
  return position.startsWith(AFTER) ? afterPosition(sequenceNumber, readUntil) : sincePosition(readUntil);
}

/** Up to when a shard is known to be read, or `null` where the position does not say. */
export function readUntil(position: string): Date | null {
  if (!position.startsWith(AFTER) && !position.startsWith(SINCE)) return null;
  return new Date(position.split(' ').at(-1) ?? '');
}

/** Whether a checkpoint was set back from `known`; if not, another processor has moved it on. Absent: it was deleted. */
export function isSetBack(position: string | undefined, known: string): boolean {
  if (position === undefined || known === END) return true;
  if (position === END || known === FIRST_RECORD) return false;
  if (position.startsWith(AFTER) && known.startsWith(AFTER)) return sequenceOf(position) < sequenceOf(known);
  // One of them names a time only: the times up to which both are read decide.
  const [time, knownTime] = [readUntil(position), readUntil(known)];
  return time === null || (knownTime !== null && time < knownTime);
}

function sequenceOf(position: string): bigint {
  return BigInt(position.split(' ')[1] ?? 0);
}

/** The name of the stream's checkpoints: a stream made anew under the same name has others. */
export function kinesisSourceName({ id }: Stream): string {
  return `kinesis ${id}`;
}

/** An iterator that begins at a position. */
export async function iteratorAt(
  client: KinesisClient,
  StreamName: string,
  ShardId: string,
  position: string,
): Promise<string | undefined> {
  const { ShardIterator } = await client.send(
    new GetShardIteratorCommand({ StreamName, ShardId, ...startingPoint(position) }),
  );
  return ShardIterator;
}

function startingPoint(position: string) {
  if (position.startsWith(AFTER)) {
    return {
      ShardIteratorType: 'AFTER_SEQUENCE_NUMBER' as const,
      StartingSequenceNumber: position.split(' ')[1],
    };
  }
  if (position.startsWith(SINCE)) {
    return { ShardIteratorType: 'AT_TIMESTAMP' as const, Timestamp: new Date(position.slice(SINCE.length)) };
  }
  return { ShardIteratorType: 'TRIM_HORIZON' as const };
}

/**
 * At the very first start of all, writes down where every shard begins. Shards that come later have no checkpoint and are read
 * from their first record on.
 */
export async function beginStream(
  pool: Pool,
  client: KinesisClient,
  stream: Stream,
  config: Config,
): Promise<void> {
  const source = kinesisSourceName(stream);
  if ((await readCheckpoints(pool, source)).size > 0) return;
  const position = firstPosition(config.START_POSITION, stream);
  const shards = await listShards(client, config);
  await beginCheckpoints(
    pool,
    source,
    new Map(shards.flatMap(({ ShardId: id }) => (id === undefined ? [] : [[id, position] as const]))),
  );
}

function firstPosition(start: StartPosition, { retentionMs }: Stream): string {
  const isBefore = start instanceof Date && Date.now() - start.getTime() > retentionMs;
  if (start === 'earliest' || isBefore) return FIRST_RECORD;
  // "Latest" is a time too: a start that dies before its first checkpoint must not begin later than it was told to.
  return sincePosition(start === 'latest' ? new Date() : start);
}

/** Whether the stream may have deleted records that arrived at a time or later. It holds none from before it was made. */
export function mayHaveDeleted({ retentionMs, madeAt }: Stream, since: Date, nowMs: number): boolean {
  const oldestMs = Math.max(since.getTime(), madeAt?.getTime() ?? 0);
  return nowMs - oldestMs > retentionMs;
}

/** The shards that may be read: all before them are read to their end, or are gone. */
export function readableShards(shards: readonly Shard[], positions: ReadonlyMap<string, string>): Shard[] {
  const there = new Set(shards.map(({ ShardId }) => ShardId));
  const isOver = (id: string | undefined) => id === undefined || !there.has(id) || positions.get(id) === END;
  return shards.filter(
    ({ ShardId, ParentShardId, AdjacentParentShardId }) =>
      ShardId !== undefined &&
      positions.get(ShardId) !== END &&
      isOver(ParentShardId) &&
      isOver(AdjacentParentShardId),
  );
}
