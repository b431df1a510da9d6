import fs, { readdirSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CLICK_BYTES_MAX } from '../../contract/click-event.ts';
import { listSegments } from '../../producer/spool-format.ts';
import { append, bytesOnDisk, clickText, openSpool, readBack } from '../support/spool-bench.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

describe('a spool', () => {
  it('gives back what was appended, in order', async () => {
    const spool = openSpool();
    const clicks = Array.from({ length: 500 }, (_, index) => clickText(index));
    const sequences: (number | null)[] = [];
    for (let at = 0; at < clicks.length; ) {
      const turn = clicks.slice(at, at + 1 + (at % 7));
      sequences.push(...(await append(spool, turn)));
      at += turn.length;
    }
    expect(sequences).toEqual(clicks.map((_, index) => index + 1));
    expect(spool.accepted).toBe(500);
    expect(readBack(spool.folder, spool.accepted)).toEqual({ clicks, damaged: 0 });
  });

  it('gives back any text of any size, from any sequence, with any segment size', async () => {
    const texts = fc.array(
      fc.oneof(
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
        fc.nat({ max: CLICK_BYTES_MAX - 1 }).map((length) => 'x'.repeat(length + 1)),
      ),
      { minLength: 1, maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(
        texts,
        fc.integer({ min: 4_096, max: 50_000 }),
        fc.nat(),
        async (clicks, segmentBytes, start) => {
          const spool = openSpool({ segmentBytes });
          for (let at = 0; at < clicks.length; at += 9) await append(spool, clicks.slice(at, at + 9));
          const from = 1 + (start % clicks.length);
          expect(readBack(spool.folder, spool.accepted, { from, limit: 1 + (start % 13) })).toEqual({
            clicks: clicks.slice(from - 1),
            damaged: 0,
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  it('writes once a turn, however much was appended in it', async () => {
    const spool = openSpool();
    await append(spool, [clickText(0)]);
    const writes = vi.spyOn(fs, 'writeSync');
    syncBuiltinESMExports();
    await append(
      spool,
      Array.from({ length: 1_000 }, (_, index) => clickText(index)),
    );
    expect(writes).toHaveBeenCalledTimes(1);
    expect(readBack(spool.folder, 1_001).clicks).toHaveLength(1_001);
  });

  it('answers at the end of the turn, not before', async () => {
    const spool = openSpool();
    const told: (number | null)[] = [];
    spool.append(clickText(1), (sequence) => told.push(sequence));
    spool.append(clickText(2), (sequence) => told.push(sequence));
    await Promise.resolve();
    expect(told).toEqual([]);
    await append(spool, [clickText(3)]);
    expect(told).toEqual([1, 2]);
  });

  it('tells each of a turn, though one of them throws at its answer', () => {
    const spool = openSpool();
    const told: (number | null)[] = [];
    spool.append(clickText(1), () => {
      throw new Error('A visitor who cannot be answered');
    });
    spool.append(clickText(2), (sequence) => told.push(sequence));
    try {
      spool.finish();
    } catch {
      // Whether it throws is its own affair, as long as the others hear of their clicks.
    }
    expect(told).toEqual([2]);
  });

  it('tells its relay when it has grown, once a turn', async () => {
    const spool = openSpool();
    const grown = vi.fn();
    spool.onChange = grown;
    await append(spool, [clickText(1), clickText(2)]);
    expect(grown).toHaveBeenCalledTimes(1);
  });

  it('takes the longest click and throws at a longer one, which harms no other', async () => {
    const spool = openSpool();
    const longest = 'x'.repeat(CLICK_BYTES_MAX);
    const answers = append(spool, [longest, 'first']);
    expect(() => spool.append(`${longest}x`, () => {})).toThrow(/at most 8192 bytes, got 8193/);
    expect(await answers).toEqual([1, 2]);
    expect(readBack(spool.folder, 2)).toEqual({ clicks: [longest, 'first'], damaged: 0 });
  });

  it('takes turns that are larger than its buffer', async () => {
    const spool = openSpool();
    const clicks = Array.from({ length: 300 }, (_, index) => clickText(index, 8_000));
    expect(await append(spool, clicks)).toEqual(clicks.map((_, index) => index + 1));
    expect(readBack(spool.folder, 300)).toEqual({ clicks, damaged: 0 });
  });

  it('keeps its folder to its owner', () => {
    const { folder } = openSpool();
    expect(fs.statSync(folder).mode & 0o077).toBe(0);
  });

  it('is a spool of its own every time', () => {
    expect(openSpool().spoolId).not.toBe(openSpool().spoolId);
  });
});

describe('the segments of a spool', () => {
  it('end at their size, and are named after their first click', async () => {
    const spool = openSpool({ segmentBytes: 4_096 });
    for (let count = 0; count < 40; count += 1) await append(spool, [clickText(count, 1_000)]);
    const segments = listSegments(spool.folder);
    expect(segments.map(({ firstSequence }) => firstSequence)).toEqual([1, 6, 11, 16, 21, 26, 31, 36]);
    for (const { path } of segments) expect(fs.statSync(path).size).toBeLessThan(4_096 + 1_100);
    expect(spool.bytes).toBe(bytesOnDisk(spool.folder));
  });

  it('are rolled without a gap and without an empty one', async () => {
    const spool = openSpool();
    await append(spool, ['a']);
    spool.roll();
    spool.roll();
    expect(spool.openSegment).toBeNull();
    expect(await append(spool, ['b'])).toEqual([2]);
    expect(spool.openSegment).toBe(2);
    expect(readBack(spool.folder, 2)).toEqual({ clicks: ['a', 'b'], damaged: 0 });
    expect(readdirSync(spool.folder).filter((name) => name.endsWith('.segment'))).toHaveLength(2);
  });

  it('are finished at the end with all that the last turn held', async () => {
    const spool = openSpool();
    const answers = append(spool, ['a', 'b']);
    spool.finish();
    expect(await answers).toEqual([1, 2]);
    expect(spool.openSegment).toBeNull();
    expect(readBack(spool.folder, 2)).toEqual({ clicks: ['a', 'b'], damaged: 0 });
  });
});

describe('the bound of a spool', () => {
  it('holds, and the clicks that do not fit are refused', async () => {
    const spool = openSpool({ bytesMax: 65_536, segmentBytes: 16_384 });
    const told: (number | null)[] = [];
    for (let count = 0; count < 50; count += 1) {
      told.push(...(await append(spool, [clickText(count, 1_000), clickText(count, 1_000)])));
      expect(bytesOnDisk(spool.folder)).toBeLessThanOrEqual(65_536);
      expect(spool.bytes).toBe(bytesOnDisk(spool.folder));
    }
    const accepted = told.filter((sequence) => sequence !== null);
    expect(accepted).toEqual(accepted.map((_, index) => index + 1));
    expect(accepted.length).toBeGreaterThan(60);
    expect(told.slice(0, accepted.length)).toEqual(accepted);
    expect(spool.problem).toBe('The spool is full: 65536 bytes');
    expect(readBack(spool.folder, spool.accepted).clicks).toHaveLength(accepted.length);
  });

  it('ends the open segment of a turn that does not wholly fit, so that a relay can delete it', async () => {
    const spool = openSpool({ bytesMax: 65_536 });
    const told = await append(
      spool,
      Array.from({ length: 10 }, (_, index) => clickText(index, 8_000)),
    );
    expect(told.includes(1) && told.includes(null)).toBe(true);
    expect(spool.openSegment).toBeNull();
  });

  it('counts what it shares the disk with', async () => {
    const spool = openSpool({ bytesMax: 65_536 });
    spool.bytes += 65_000;
    expect(await append(spool, [clickText(1, 1_000)])).toEqual([null]);
    spool.bytes -= 65_000;
    expect(await append(spool, [clickText(2, 1_000)])).toEqual([1]);
    expect(spool.problem).toBeNull();
  });

  it('is no longer a problem once there is room, before anybody clicks', async () => {
    const spool = openSpool({ bytesMax: 65_536 });
    spool.bytes += 65_536;
    await append(spool, ['a']);
    spool.probe();
    expect(spool.problem).not.toBeNull();
    spool.bytes -= 65_536;
    spool.probe();
    expect(spool.problem).toBeNull();
    expect(await append(spool, ['b'])).toEqual([1]);
  });
});
