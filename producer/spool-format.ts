import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CLICK_BYTES_MAX } from '../contract/click-event.ts';

// A spool is a folder named after its id, with segment files named after the sequence of their first record. A segment is a header and
// then frames. A frame is: length of the payload, checksum, index in the segment, payload; integers are 32-bit big-endian. The sequence
// of a record is the first sequence of the segment plus the index, so a reader that skips damage to the next whole frame knows how many
// records it skipped.

/** The first bytes of a segment. */
export const SEGMENT_HEADER = Buffer.from('TOLLWAY SPOOL 1\n', 'latin1');
/** Length, checksum and index of a frame, in bytes. */
export const FRAME_HEADER_BYTES = 12;
/** Longest record with its frame, in bytes. */
export const FRAME_BYTES_MAX = FRAME_HEADER_BYTES + CLICK_BYTES_MAX;
/** Bytes of a segment that are read at once. At least two frames fit. */
export const WINDOW_BYTES = Math.max(1_048_576, 2 * FRAME_BYTES_MAX);

/** Bytes scanned in one event-loop iteration: 1 ms of work, 3 ms if all of them are damaged. */
const SCAN_BYTES = 262_144;

/** Offset of the index in a frame. */
const INDEX_AT = 8;
const SEGMENT_NAME = /^(\d{16})\.segment$/;

/** A segment file. */
export type Segment = { readonly path: string; readonly firstSequence: number };

/** Returns the path of the segment that begins with `firstSequence`. */
export function segmentPath(folder: string, firstSequence: number): string {
  return join(folder, `${String(firstSequence).padStart(16, '0')}.segment`);
}

/** Whether a file in the folder of a spool is a segment. */
export function isSegmentName(name: string): boolean {
  return SEGMENT_NAME.test(name);
}

/** Returns the segments of a folder, ordered by sequence. */
export function listSegments(folder: string): Segment[] {
  const segments = readdirSync(folder).flatMap((name) => {
    const match = SEGMENT_NAME.exec(name);
    return match ? [{ path: join(folder, name), firstSequence: Number(match[1]) }] : [];
  });
  return segments.sort((a, b) => a.firstSequence - b.firstSequence);
}

/** Writes the header of the frame at offset `at`, whose payload of `length` bytes is already behind it. */
export function writeFrameHeader(bytes: Buffer, at: number, length: number, index: number): void {
  bytes.writeUInt32BE(length, at);
  bytes.writeUInt32BE(index, at + INDEX_AT);
  bytes.writeUInt32BE(checksum(bytes, at, length), at + 4);
}

/** CRC-32 of index and payload, seeded with the length, so that the zeros that a loss of power can leave are not a frame. */
function checksum(bytes: Buffer, at: number, length: number): number {
  return crc32(bytes.subarray(at + INDEX_AT, at + FRAME_HEADER_BYTES + length), length);
}

/** A whole frame in a buffer. */
export type Frame = {
  readonly index: number;
  /** A view of the buffer. */
  readonly payload: Buffer;
  /** Offset behind the frame. */
  readonly end: number;
};

/** Returns the whole frames in `bytes` with `from` ≤ index < `to`, ascending. Skips bytes that are not a frame. */
export function readFrames(bytes: Buffer, from: number, to: number): Frame[] {
  const frames: Frame[] = [];
  let lowest = 0;
  for (let at = 0; at + FRAME_HEADER_BYTES < bytes.length && lowest < to; ) {
    const frame = frameAt(bytes, at, lowest, to);
    if (frame === null) {
      at += 1;
      continue;
    }
    if (frame.index >= from) frames.push(frame);
    lowest = frame.index + 1;
    at = frame.end;
  }
  return frames;
}

function frameAt(bytes: Buffer, at: number, lowest: number, to: number): Frame | null {
  const length = bytes.readUInt32BE(at);
  const end = at + FRAME_HEADER_BYTES + length;
  if (length === 0 || length > CLICK_BYTES_MAX || end > bytes.length) return null;
  const index = bytes.readUInt32BE(at + INDEX_AT);
  if (index < lowest || index >= to || bytes.readUInt32BE(at + 4) !== checksum(bytes, at, length))
    return null;
  return { index, payload: bytes.subarray(at + FRAME_HEADER_BYTES, end), end };
}

/** `records`: number of records up to the last whole one; `tornBytes`: bytes behind it. */
export type SegmentScan = { readonly records: number; readonly tornBytes: number };

/**
 * Scans the last segment of a spool whose owner died for its last whole record, which has the highest accepted sequence. Scans one window
 * in each event-loop iteration, so that no redirect waits for a large segment.
 */
export async function scanSegment(path: string): Promise<SegmentScan> {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const window = Buffer.allocUnsafe(SCAN_BYTES);
    let position = SEGMENT_HEADER.length;
    let records = 0;
    // A segment with an incomplete header never had a record.
    let wholeEnd = Math.min(SEGMENT_HEADER.length, size);
    for (;;) {
      const read = readSync(file, window, 0, SCAN_BYTES, position);
      const last = readFrames(window.subarray(0, read), records, Number.POSITIVE_INFINITY).at(-1);
      if (last) {
        records = last.index + 1;
        wholeEnd = position + last.end;
      }
      if (read < SCAN_BYTES) return { records, tornBytes: size - wholeEnd };
      // If the window has no whole frame, one can begin near its end.
      position += last?.end ?? SCAN_BYTES - FRAME_BYTES_MAX;
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    closeSync(file);
  }
}
