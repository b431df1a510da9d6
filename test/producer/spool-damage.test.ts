import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeClick } from '../../contract/click-event.ts';
import {
  FRAME_HEADER_BYTES,
  listSegments,
  readFrames,
  SEGMENT_HEADER,
  scanSegment,
  segmentPath,
  writeFrameHeader,
} from '../../producer/spool-format.ts';
import { SpoolReader } from '../../producer/spool-reader.ts';
import { clickEvent } from '../support/records.ts';
import { append, openSpool, readBack } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const CLICKS = Array.from({ length: 5 }, () => encodeClick(clickEvent()));

/** A copy of a segment with some clicks, in a folder of its own, and the offset behind each click. */
async function segmentOf(clicks: readonly string[]) {
  const spool = openSpool();
  await append(spool, clicks);
  spool.finish();
  const original = listSegments(spool.folder)[0]?.path ?? '';
  const folder = temporaryFolder();
  const path = segmentPath(folder, 1);
  copyFileSync(original, path);
  let end = SEGMENT_HEADER.length;
  const ends = clicks.map((click) => (end += FRAME_HEADER_BYTES + Buffer.byteLength(click)));
  expect(statSync(path).size).toBe(ends.at(-1));
  return { folder, path, bytes: readFileSync(original), ends };
}

it('Clicks behind a damaged one keep their sequences', async () => {
  const { folder, path, bytes, ends } = await segmentOf(CLICKS);
  const damaged = Buffer.from(bytes);
  damaged.fill(0, ends[1], ends[2]);
  writeFileSync(path, damaged);
  const reader = new SpoolReader(folder, 1);
  const reads = [1, 2].map(() => {
    const { firstSequence, payloads, damaged: lost } = reader.read(5, 1_000);
    return { firstSequence, clicks: payloads.map(String), lost };
  });
  reader.close();
  expect(reads).toEqual([
    { firstSequence: 1, clicks: CLICKS.slice(0, 2), lost: 0 },
    { firstSequence: 4, clicks: CLICKS.slice(3), lost: 1 },
  ]);
});

describe('a segment that is truncated at any byte', () => {
  it('has all its whole clicks and not the truncated one', async () => {
    const { folder, path, bytes, ends } = await segmentOf(CLICKS);
    for (let length = bytes.length; length >= 0; length -= 1) {
      truncateSync(path, length);
      const whole = ends.filter((end) => end <= length).length;
      expect((await scanSegment(path)).records).toBe(whole);
      expect(readBack(folder, whole)).toEqual({ clicks: CLICKS.slice(0, whole), damaged: 0 });
    }
  });

  it('counts its truncated click as damaged if that was accepted', async () => {
    const { folder, path, bytes } = await segmentOf(CLICKS);
    for (const torn of [1, 8, 12, 13, 100]) {
      writeFileSync(path, bytes.subarray(0, bytes.length - torn));
      expect(readBack(folder, 5)).toEqual({ clicks: CLICKS.slice(0, 4), damaged: 1 });
    }
  });

  it.each([1, 7, 8, 9, 4_096, 2_000_000])(
    'can have %i zeros at its end, as after a loss of power',
    async (zeros) => {
      const { folder, path, bytes } = await segmentOf(CLICKS);
      writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(zeros)]));
      expect((await scanSegment(path)).records).toBe(5);
      expect(readBack(folder, 5)).toEqual({ clicks: CLICKS, damaged: 0 });
    },
  );

  it('can have zeros instead of its last clicks, as after lost pages', async () => {
    const { folder, path, bytes, ends } = await segmentOf(CLICKS);
    for (let lost = 1; lost <= 5; lost += 1) {
      const kept = ends[4 - lost] ?? SEGMENT_HEADER.length;
      writeFileSync(path, Buffer.concat([bytes.subarray(0, kept), Buffer.alloc(bytes.length - kept)]));
      expect((await scanSegment(path)).records).toBe(5 - lost);
      expect(readBack(folder, 5)).toEqual({ clicks: CLICKS.slice(0, 5 - lost), damaged: lost });
    }
  });
});

describe('a flipped bit', () => {
  it('is detected at any position: no altered click is read', async () => {
    const { folder, path, bytes } = await segmentOf(CLICKS);
    for (let place = SEGMENT_HEADER.length * 8; place < bytes.length * 8; place += 13) {
      const altered = Buffer.from(bytes);
      altered[place >> 3] = (altered[place >> 3] ?? 0) ^ (1 << (place & 7));
      writeFileSync(path, altered);
      const { clicks, damaged } = readBack(folder, 5);
      expect(clicks.length + damaged).toBe(5);
      expect(damaged).toBeGreaterThan(0);
      expect(CLICKS).toEqual(expect.arrayContaining(clicks));
    }
  });

  it('in the payload of a click damages only that click', async () => {
    const { folder, path, bytes, ends } = await segmentOf(CLICKS);
    const altered = Buffer.from(bytes);
    const middle = (ends[1] ?? 0) + FRAME_HEADER_BYTES + 20;
    altered[middle] = (altered[middle] ?? 0) ^ 1;
    writeFileSync(path, altered);
    expect(readBack(folder, 5)).toEqual({ clicks: CLICKS.toSpliced(2, 1), damaged: 1 });
  });

  it('does not hide the clicks behind it from the scan of a dead spool', async () => {
    const { path, bytes, ends } = await segmentOf(CLICKS);
    const altered = Buffer.from(bytes);
    const middle = (ends[1] ?? 0) + FRAME_HEADER_BYTES + 20;
    altered[middle] = (altered[middle] ?? 0) ^ 1;
    writeFileSync(path, altered);
    expect((await scanSegment(path)).records).toBe(5);
  });

  it('in the length of a click damages only that click, because the next frame has its index', async () => {
    const { folder, path, bytes } = await segmentOf(CLICKS);
    copyFileSync(path, segmentPath(folder, 6));
    const altered = Buffer.from(bytes);
    altered[SEGMENT_HEADER.length] = 0xff;
    writeFileSync(path, altered);
    expect(readBack(folder, 10)).toEqual({ clicks: [...CLICKS.slice(1), ...CLICKS], damaged: 1 });
  });
});

describe('segments', () => {
  it('that are missing count as damaged, and later ones are read', async () => {
    const { folder, path } = await segmentOf(CLICKS);
    copyFileSync(path, segmentPath(folder, 106));
    expect(readBack(folder, 110)).toEqual({ clicks: [...CLICKS, ...CLICKS], damaged: 100 });
  });

  it('end where the next one begins, and later bytes are ignored', async () => {
    const { folder, path } = await segmentOf(CLICKS);
    copyFileSync(path, segmentPath(folder, 4));
    expect(readBack(folder, 8)).toEqual({ clicks: [...CLICKS.slice(0, 3), ...CLICKS], damaged: 0 });
  });

  it('are listed without other files', async () => {
    const { folder } = await segmentOf(CLICKS);
    for (const name of ['relayed', 'lock', '1.segment', '0000000000000009.segment~']) {
      writeFileSync(join(folder, name), 'x');
    }
    expect(listSegments(folder)).toHaveLength(1);
  });
});

describe('a long damage', () => {
  /** A frame with a text, at an index. */
  const frameOf = (text: string, index: number) => {
    const frame = Buffer.alloc(FRAME_HEADER_BYTES + text.length);
    frame.write(text, FRAME_HEADER_BYTES);
    writeFrameHeader(frame, 0, text.length, index);
    return frame;
  };

  // The sizes of the windows of reader and scan. The frame begins in the last bytes of one window and ends in the next.
  it.each([1_048_576, 262_144])(
    'of %i bytes does not hide a click across the border of a window',
    async (window) => {
      const folder = temporaryFolder();
      const path = segmentPath(folder, 1);
      const click = frameOf('x'.repeat(5_000), 7);
      for (const before of [1, 12, 2_500, click.length - 1, click.length]) {
        writeFileSync(path, Buffer.concat([SEGMENT_HEADER, Buffer.alloc(window - before, 0xff), click]));
        expect(readBack(folder, 8)).toEqual({ clicks: ['x'.repeat(5_000)], damaged: 7 });
        expect(await scanSegment(path)).toEqual({ records: 8, tornBytes: 0 });
      }
    },
  );

  it('over several windows damages only the clicks that it covers', async () => {
    const folder = temporaryFolder();
    const path = segmentPath(folder, 1);
    const damage = Buffer.alloc(2_500_000, 0xff);
    writeFileSync(path, Buffer.concat([SEGMENT_HEADER, frameOf('a', 0), damage, frameOf('b', 5)]));
    expect(readBack(folder, 6)).toEqual({ clicks: ['a', 'b'], damaged: 4 });
    expect(await scanSegment(path)).toEqual({ records: 6, tornBytes: 0 });
  });
});

describe('frames', () => {
  it('in any bytes are never read beyond their end, and only with a requested index', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(9), fc.nat(20), (noise, from, to) => {
        for (const { index, payload, end } of readFrames(Buffer.from(noise), from, to)) {
          expect(payload.length).toBeGreaterThan(0);
          expect(end).toBeLessThanOrEqual(noise.length);
          expect(index).toBeGreaterThanOrEqual(from);
          expect(index).toBeLessThan(to);
        }
      }),
    );
  });

  it('are found between any other bytes, each with its index', () => {
    const noises = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(noises, (noise) => {
        const frames = ['one', 'two', 'three'].map((text, index) => {
          const frame = Buffer.alloc(FRAME_HEADER_BYTES + text.length);
          frame.write(text, FRAME_HEADER_BYTES);
          writeFrameHeader(frame, 0, text.length, index);
          return frame;
        });
        const bytes = Buffer.concat(
          noise.flatMap((before, index) => [before, frames[index] ?? Buffer.alloc(0)]),
        );
        const found = readFrames(bytes, 0, 3).map(({ index, payload }) => [index, String(payload)]);
        expect(found).toEqual(['one', 'two', 'three'].map((text, index) => [index, text]));
      }),
      { numRuns: 1_000 },
    );
  });

  it('have the format of version 1, so that spools of older versions can be read', async () => {
    const { bytes } = await segmentOf(['abc']);
    // Length, checksum, index, text; the checksum is zlib's CRC-32 of index and text with the length as its start.
    const checksum = '\x66\xe1\x5d\x33';
    expect(bytes.toString('latin1')).toBe(`TOLLWAY SPOOL 1\n\x00\x00\x00\x03${checksum}\x00\x00\x00\x00abc`);
  });

  it('are not found in zeros', () => {
    expect(readFrames(Buffer.alloc(64), 0, 10)).toEqual([]);
  });
});
