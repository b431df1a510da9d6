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
    // Created an hour ago, so it has deleted nothing yet.
    [25, hoursAgo(1), false],
    [100, hoursAgo(25), true],
  ])(
    'can have deleted records that arrived %d hours ago, if it was created at %s: %s',
    (hours, createdAt, expected) => {
      const stream = { id: 'stream', retentionMs: 24 * hourMs, createdAt };
      expect(mayHaveDeleted(stream, hoursAgo(hours), nowMs)).toBe(expected);
    },
  );
});

describe('the shards that can be read', () => {
  const readable = (shards: readonly Shard[], positions: Readonly<Record<string, string>>) =>
    readableShards(shards, new Map(Object.entries(positions))).map(({ ShardId }) => ShardId);
  const split = [shard('parent'), shard('left', 'parent'), shard('right', 'parent')];
  const merged = [shard('one'), shard('other'), shard('child', 'one', 'other')];

  it('include all without parents, with a checkpoint or without', () => {
    expect(readable([shard('a'), shard('b')], { a: FIRST_RECORD })).toEqual(['a', 'b']);
  });

  it('include the children of a split once their parent is settled to its end', () => {
    expect(readable(split, {})).toEqual(['parent']);
    expect(readable(split, { parent: 'after 7 2026-01-31T12:00:00.000Z' })).toEqual(['parent']);
    expect(readable(split, { parent: END })).toEqual(['left', 'right']);
  });

  it('include the child of a merge once both of its parents are settled to their end', () => {
    expect(readable(merged, {})).toEqual(['one', 'other']);
    expect(readable(merged, { one: END })).toEqual(['other']);
    expect(readable(merged, { other: END })).toEqual(['one']);
    expect(readable(merged, { one: END, other: END })).toEqual(['child']);
  });

  it('include the children of parents that the stream has deleted', () => {
    expect(readable([shard('child', 'one', 'other')], {})).toEqual(['child']);
    expect(readable([shard('other'), shard('child', 'one', 'other')], {})).toEqual(['other']);
    expect(readable([shard('one'), shard('child', 'one', 'other')], {})).toEqual(['one']);
  });

  it('exclude shards that are settled to their end', () => {
    expect(readable(merged, { one: END, other: END, child: END })).toEqual([]);
  });
});

describe('a position', () => {
  const time = new Date('2026-01-31T12:00:00.000Z');
  const later = new Date('2026-01-31T13:00:00.000Z');

  it('has the time up to which a shard is read', () => {
    expect(readUntil(afterPosition('42', time))).toEqual(time);
    expect(readUntil(sincePosition(time))).toEqual(time);
    for (const position of [FIRST_RECORD, END]) expect(readUntil(position)).toBeNull();
  });

  it('keeps its place in the shard when its time is refreshed', () => {
    expect(refreshed(afterPosition('42', time), later)).toBe(afterPosition('42', later));
    expect(refreshed(sincePosition(time), later)).toBe(sincePosition(later));
    // All records before that time are read, so the time alone is enough.
    expect(refreshed(FIRST_RECORD, later)).toBe(sincePosition(later));
  });
});
