import { GetShardIteratorCommand, type KinesisClient, type Shard } from '@aws-sdk/client-kinesis';
import type { Config, StartPosition } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { beginCheckpoints, readCheckpoints } from '../checkpoints.ts';
import { listShards, type Stream } from './client.ts';

/**
 * Checkpoints of a shard: `first record`, `since <time>`, `after <sequence number> <time>`, and `end` once a closed shard is settled to
 * its end. The shard is read up to that time.
 */
export const FIRST_RECORD = 'first record';
export const END = 'end';
const SINCE = 'since ';
const AFTER = 'after ';

/** The position of the first record that arrived at `time` or later. */
export function sincePosition(time: Date): string {
  return `${SINCE}${time.toISOString()}`;
}

/** The position after a record. */
export function afterPosition(sequenceNumber: string, readUntil: Date): string {
  return `${AFTER}${sequenceNumber} ${readUntil.toISOString()}`;
}

/** The same position, with a later time up to which the shard is read. */
export function refreshed(position: string, readUntil: Date): string {
  const [, sequenceNumber = ''] = position.split(' ');
  return position.startsWith(AFTER) ? afterPosition(sequenceNumber, readUntil) : sincePosition(readUntil);
}

/** The time up to which a shard is read, or `null` if the position has none. */
export function readUntil(position: string): Date | null {
  if (!position.startsWith(AFTER) && !position.startsWith(SINCE)) return null;
  return new Date(position.split(' ').at(-1) ?? '');
}

/** Whether a checkpoint was set back from `known`, or deleted (`undefined`). If not, another processor has moved it forward. */
export function isSetBack(position: string | undefined, known: string): boolean {
  if (position === undefined || known === END) return true;
  if (position === END || known === FIRST_RECORD) return false;
  if (position.startsWith(AFTER) && known.startsWith(AFTER)) return sequenceOf(position) < sequenceOf(known);
  // One of them has only a time, so the times are compared.
  const [time, knownTime] = [readUntil(position), readUntil(known)];
  return time === null || (knownTime !== null && time < knownTime);
}

function sequenceOf(position: string): bigint {
  return BigInt(position.split(' ')[1] ?? 0);
}

/** The name of the stream's checkpoints. A stream that is created again under the same name has other checkpoints. */
export function kinesisSourceName({ id }: Stream): string {
  return `kinesis ${id}`;
}

/** A shard iterator that starts at a position. */
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
 * Writes the first checkpoint of every shard, at the first start with this stream. Shards that are added later have no checkpoint and are
 * read from their first record on.
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
  // "latest" is stored as a time, so that a restart before the first checkpoint does not skip records that arrived since.
  return sincePosition(start === 'latest' ? new Date() : start);
}

/** Whether the stream can have deleted records that arrived at `since` or later. No record is older than the stream. */
export function mayHaveDeleted({ retentionMs, createdAt }: Stream, since: Date, nowMs: number): boolean {
  const oldestMs = Math.max(since.getTime(), createdAt?.getTime() ?? 0);
  return nowMs - oldestMs > retentionMs;
}

/** The shards that can be read: their parent shards are settled to their end or have expired. */
export function readableShards(shards: readonly Shard[], positions: ReadonlyMap<string, string>): Shard[] {
  const ids = new Set(shards.map(({ ShardId }) => ShardId));
  const isDone = (id: string | undefined) => id === undefined || !ids.has(id) || positions.get(id) === END;
  return shards.filter(
    ({ ShardId, ParentShardId, AdjacentParentShardId }) =>
      ShardId !== undefined &&
      positions.get(ShardId) !== END &&
      isDone(ParentShardId) &&
      isDone(AdjacentParentShardId),
  );
}
