import fs, { readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CLICK_BYTES_MAX } from '../../contract/click-event.ts';
import { listSegments } from '../../producer/spool-format.ts';
import { append, bytesOnDisk, clickText, openSpool, readBack } from '../support/spool-fixture.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

describe('a spool', () => {
  it('returns the appended clicks in order', async () => {
    const spool = openSpool();
    const clicks = Array.from({ length: 500 }, (_, index) => clickText(index));
    const sequences: (number | null)[] = [];
    for (let at = 0; at < clicks.length; ) {
      const batch = clicks.slice(at, at + 1 + (at % 7));
      sequences.push(...(await append(spool, batch)));
      at += batch.length;
    }
    expect(sequences).toEqual(clicks.map((_, index) => index + 1));
    expect(spool.accepted).toBe(500);
    expect(readBack(spool.folder, spool.accepted)).toEqual({ clicks, damaged: 0 });
  });

  it('returns texts of any size, from any sequence, with any segment size', async () => {
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

  it('writes once for each event-loop iteration, for any number of clicks', async () => {
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

  it('runs callbacks at the end of the event-loop iteration, not before', async () => {
    const spool = openSpool();
    const sequences: (number | null)[] = [];
    spool.append(clickText(1), (sequence) => sequences.push(sequence));
    spool.append(clickText(2), (sequence) => sequences.push(sequence));
    await Promise.resolve();
    expect(sequences).toEqual([]);
    await append(spool, [clickText(3)]);
    expect(sequences).toEqual([1, 2]);
  });

  it('runs all callbacks of a batch, even if one throws', () => {
    const spool = openSpool();
    const sequences: (number | null)[] = [];
    spool.append(clickText(1), () => {
      throw new Error('The response cannot be sent');
    });
    spool.append(clickText(2), (sequence) => sequences.push(sequence));
    try {
      spool.finish();
    } catch {
      // Only the other callbacks matter here.
    }
    expect(sequences).toEqual([2]);
  });

  it('notifies its relay once for each batch', async () => {
    const spool = openSpool();
    const grown = vi.fn();
    spool.onChange = grown;
    await append(spool, [clickText(1), clickText(2)]);
    expect(grown).toHaveBeenCalledTimes(1);
  });

  it('accepts the longest click and throws on a longer one, which affects no other', async () => {
    const spool = openSpool();
    const longest = 'x'.repeat(CLICK_BYTES_MAX);
    const answers = append(spool, [longest, 'first']);
    expect(() => spool.append(`${longest}x`, () => {})).toThrow(/at most 8192 bytes, got 8193/);
    expect(await answers).toEqual([1, 2]);
    expect(readBack(spool.folder, 2)).toEqual({ clicks: [longest, 'first'], damaged: 0 });
  });

  it('accepts batches that are larger than its buffer', async () => {
    const spool = openSpool();
    const clicks = Array.from({ length: 300 }, (_, index) => clickText(index, 8_000));
    expect(await append(spool, clicks)).toEqual(clicks.map((_, index) => index + 1));
    expect(readBack(spool.folder, 300)).toEqual({ clicks, damaged: 0 });
  });

  it('has a folder that only its owner can read', () => {
    const { folder } = openSpool();
    expect(fs.statSync(folder).mode & 0o077).toBe(0);
  });

  it('is not gone while its folder cannot be looked at', () => {
    const spool = openSpool();
    expect(spool.isGone).toBe(false);
    const moved = `${spool.folder}-moved`;
    renameSync(spool.folder, moved);
    expect(spool.isGone).toBe(true);
    // A link to itself: ELOOP, as an example of an error that does not mean that nothing is there.
    symlinkSync(spool.folder, spool.folder);
    expect(spool.isGone).toBe(false);
    rmSync(spool.folder);
    renameSync(moved, spool.folder);
    expect(spool.isGone).toBe(false);
  });

  it('has a new id each time', () => {
    expect(openSpool().spoolId).not.toBe(openSpool().spoolId);
  });
});

describe('the segments of a spool', () => {
  it('end at segmentBytes, and are named after their first sequence', async () => {
    const spool = openSpool({ segmentBytes: 4_096 });
    for (let count = 0; count < 40; count += 1) await append(spool, [clickText(count, 1_000)]);
    const segments = listSegments(spool.folder);
    expect(segments.map(({ firstSequence }) => firstSequence)).toEqual([1, 6, 11, 16, 21, 26, 31, 36]);
    for (const { path } of segments) expect(fs.statSync(path).size).toBeLessThan(4_096 + 1_100);
    expect(spool.bytes).toBe(bytesOnDisk(spool.folder));
  });

  it('have no gap and no empty segment after rolls', async () => {
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

  it('contain the clicks of the last batch after finish', async () => {
    const spool = openSpool();
    const answers = append(spool, ['a', 'b']);
    spool.finish();
    expect(await answers).toEqual([1, 2]);
    expect(spool.openSegment).toBeNull();
    expect(readBack(spool.folder, 2)).toEqual({ clicks: ['a', 'b'], damaged: 0 });
  });
});

describe('bytesMax of a spool', () => {
  it('is not exceeded, and clicks that do not fit are refused', async () => {
    const spool = openSpool({ bytesMax: 65_536, segmentBytes: 16_384 });
    const sequences: (number | null)[] = [];
    for (let count = 0; count < 50; count += 1) {
      sequences.push(...(await append(spool, [clickText(count, 1_000), clickText(count, 1_000)])));
      expect(bytesOnDisk(spool.folder)).toBeLessThanOrEqual(65_536);
      expect(spool.bytes).toBe(bytesOnDisk(spool.folder));
    }
    const accepted = sequences.filter((sequence) => sequence !== null);
    expect(accepted).toEqual(accepted.map((_, index) => index + 1));
    expect(accepted.length).toBeGreaterThan(60);
    expect(sequences.slice(0, accepted.length)).toEqual(accepted);
    expect(spool.problem).toBe('The spools are full: 65536 bytes');
    expect(readBack(spool.folder, spool.accepted).clicks).toHaveLength(accepted.length);
  });

  it('ends the open segment if a batch does not fit completely, so that the relay can delete it', async () => {
    const spool = openSpool({ bytesMax: 65_536 });
    const sequences = await append(
      spool,
      Array.from({ length: 10 }, (_, index) => clickText(index, 8_000)),
    );
    expect(sequences.includes(1) && sequences.includes(null)).toBe(true);
    expect(spool.openSegment).toBeNull();
  });

  it('includes the bytes of other spools', async () => {
    const spool = openSpool({ bytesMax: 65_536 });
    spool.othersBytes = 65_000;
    expect(await append(spool, [clickText(1, 1_000)])).toEqual([null]);
    spool.othersBytes = 0;
    expect(await append(spool, [clickText(2, 1_000)])).toEqual([1]);
    expect(spool.problem).toBeNull();
  });

  it('is no longer a problem when there is space, before the next click', async () => {
    const spool = openSpool({ bytesMax: 65_536 });
    spool.othersBytes = 65_536;
    await append(spool, ['a']);
    spool.probe();
    expect(spool.problem).not.toBeNull();
    spool.othersBytes = 0;
    spool.probe();
    expect(spool.problem).toBeNull();
    expect(await append(spool, ['b'])).toEqual([1]);
  });
});
