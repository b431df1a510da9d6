import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CLICK_BYTES_MAX } from '../contract/click-event.ts';

/**
 * A spool is a folder named after its id, with segment files named after the sequence of their first record.
 * A segment is a header and then frames: length of the payload, checksum, index in the segment, payload; integers 32-bit
 * big-endian. A record's sequence is the segment's first plus its index: after damage the reader finds the next
 * whole frame and knows how many lie between.
 */
export const SEGMENT_HEADER = Buffer.from('TOLLWAY SPOOL 1\n', 'latin1');
export const FRAME_HEADER_BYTES = 12;
/** Longest record with its frame, in bytes. */
export const FRAME_BYTES_MAX = FRAME_HEADER_BYTES + CLICK_BYTES_MAX;
/** Bytes read of a segment at once: many frames, and always more than one. */
export const WINDOW_BYTES = Math.max(1_048_576, 2 * FRAME_BYTES_MAX);

/** Bytes scanned in one turn of the event loop: a millisecond of work, three where all of it is damaged. */
const SCAN_BYTES = 262_144;

const INDEX_AT = 8;
const SEGMENT_NAME = /^(\d{16})\.segment$/;

export type Segment = { readonly path: string; readonly firstSequence: number };

/** The path of the segment that begins with a sequence. */
export function segmentPath(folder: string, firstSequence: number): string {
  return join(folder, `${String(firstSequence).padStart(16, '0')}.segment`);
}

/** The segments of a folder in order. */
export function listSegments(folder: string): Segment[] {
  const segments = readdirSync(folder).flatMap((name) => {
    const match = SEGMENT_NAME.exec(name);
    return match ? [{ path: join(folder, name), firstSequence: Number(match[1]) }] : [];
  });
  return segments.sort((a, b) => a.firstSequence - b.firstSequence);
}

/** Writes the header of the frame at `at`, whose payload of `length` bytes is in its place already. */
export function writeFrameHeader(bytes: Buffer, at: number, length: number, index: number): void {
  bytes.writeUInt32BE(length, at);
  bytes.writeUInt32BE(index, at + INDEX_AT);
  bytes.writeUInt32BE(checksum(bytes, at, length), at + 4);
}

/** Covers the length too (as the seed), so a tail of zeros, as power loss leaves it, is no frame. */
function checksum(bytes: Buffer, at: number, length: number): number {
  return crc32(bytes.subarray(at + INDEX_AT, at + FRAME_HEADER_BYTES + length), length);
}

export type Frame = {
  readonly index: number;
  readonly payload: Buffer;
  /** Where the next frame begins. */
  readonly end: number;
};

/**
 * The whole frames in `bytes` with `from` ≤ index < `to`, ascending; stops at the last of them. Whatever is no frame is
 * passed over until the next one. Payloads are views.
 */
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

/** What a scan of a segment finds: how many records it had up to its last whole one, and how many bytes lie behind that. */
export type SegmentScan = { readonly records: number; readonly tornBytes: number };

/**
 * Scans the segment of a spool whose owner died: its last whole record says how many the owner accepted. Takes one window a turn of the
 * event loop, so that no redirect waits for a large segment.
 */
export async function scanSegment(path: string): Promise<SegmentScan> {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const window = Buffer.allocUnsafe(SCAN_BYTES);
    let position = SEGMENT_HEADER.length;
    let records = 0;
    // A segment whose header is not whole never held a record.
    let wholeEnd = Math.min(SEGMENT_HEADER.length, size);
    for (;;) {
      const read = readSync(file, window, 0, SCAN_BYTES, position);
      const last = readFrames(window.subarray(0, read), records, Number.POSITIVE_INFINITY).at(-1);
      if (last) {
        records = last.index + 1;
        wholeEnd = position + last.end;
      }
      if (read < SCAN_BYTES) return { records, tornBytes: size - wholeEnd };
      // Without a frame in all of the window, the next one may begin at its end.
      position += last?.end ?? SCAN_BYTES - FRAME_BYTES_MAX;
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    closeSync(file);
  }
}
