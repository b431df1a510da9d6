import type { Shard } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from 'vitest';
import {
  afterPosition,
  END,
  FIRST_RECORD,
  mayHaveDeleted,
  readableShards,
  readUntil,
  refreshed,
  sincePosition,
} from '../../brokers/kinesis/positions.ts';

const shard = (id: string, ...parents: string[]): Shard => ({
  ShardId: id,
  ...(parents[0] === undefined ? {} : { ParentShardId: parents[0] }),
  ...(parents[1] === undefined ? {} : { AdjacentParentShardId: parents[1] }),
  HashKeyRange: { StartingHashKey: '0', EndingHashKey: '1' },
  SequenceNumberRange: { StartingSequenceNumber: '1' },
});

describe('a stream', () => {
  const hourMs = 3_600_000;
  const nowMs = Date.UTC(2026, 0, 10);
  const hoursAgo = (hours: number) => new Date(nowMs - hours * hourMs);

  it.each([
    [25, hoursAgo(100), true],
    [24, hoursAgo(100), false],
    [25, null, true],
    // Made an hour ago: it has deleted nothing yet.
    [25, hoursAgo(1), false],
    [100, hoursAgo(25), true],
  ])('may have deleted what arrived %d hours ago, made at %s: %s', (hours, createdAt, expected) => {
    const stream = { id: 'stream', retentionMs: 24 * hourMs, createdAt };
    expect(mayHaveDeleted(stream, hoursAgo(hours), nowMs)).toBe(expected);
  });
});

describe('the shards that may be read', () => {
  const readable = (shards: readonly Shard[], positions: Readonly<Record<string, string>>) =>
    readableShards(shards, new Map(Object.entries(positions))).map(({ ShardId }) => ShardId);
  const split = [shard('parent'), shard('left', 'parent'), shard('right', 'parent')];
  const merged = [shard('one'), shard('other'), shard('child', 'one', 'other')];

  it('are all without parents, begun or not', () => {
    expect(readable([shard('a'), shard('b')], { a: FIRST_RECORD })).toEqual(['a', 'b']);
  });

  it('are the children of a split once their parent is settled to its end', () => {
    expect(readable(split, {})).toEqual(['parent']);
    expect(readable(split, { parent: 'after 7 2026-01-31T12:00:00.000Z' })).toEqual(['parent']);
    expect(readable(split, { parent: END })).toEqual(['left', 'right']);
  });

  it('are the child of a merge once both of its parents are', () => {
    expect(readable(merged, {})).toEqual(['one', 'other']);
    expect(readable(merged, { one: END })).toEqual(['other']);
    expect(readable(merged, { other: END })).toEqual(['one']);
    expect(readable(merged, { one: END, other: END })).toEqual(['child']);
  });

  it('are the children of parents that the stream has deleted', () => {
    expect(readable([shard('child', 'one', 'other')], {})).toEqual(['child']);
    expect(readable([shard('other'), shard('child', 'one', 'other')], {})).toEqual(['other']);
    expect(readable([shard('one'), shard('child', 'one', 'other')], {})).toEqual(['one']);
  });

  it('are none that is settled to its end', () => {
    expect(readable(merged, { one: END, other: END, child: END })).toEqual([]);
  });
});

describe('a position', () => {
  const time = new Date('2026-01-31T12:00:00.000Z');
  const later = new Date('2026-01-31T13:00:00.000Z');

  it('says up to when a shard is known to be read', () => {
    expect(readUntil(afterPosition('42', time))).toEqual(time);
    expect(readUntil(sincePosition(time))).toEqual(time);
    for (const position of [FIRST_RECORD, END]) expect(readUntil(position)).toBeNull();
  });

  it('is the same place when it is known to be read for longer', () => {
    expect(refreshed(afterPosition('42', time), later)).toBe(afterPosition('42', later));
    expect(refreshed(sincePosition(time), later)).toBe(sincePosition(later));
    // Before its first record there is nothing up to now.
    expect(refreshed(FIRST_RECORD, later)).toBe(sincePosition(later));
  });
});
