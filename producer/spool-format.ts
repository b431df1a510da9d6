import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CLICK_BYTES_MAX } from './click-event.ts';

/**
 * A spool is a folder named after its origin, with segment files named after the sequence of their first
 * record. A segment is a header and then records: length, CRC-32, payload; integers 32-bit big-endian.
 * The sequence is not written: it is the place in the file, so that only a whole record can take one.
 */
export const SEGMENT_HEADER = Buffer.from('TOLLWAY SPOOL 1\n', 'latin1');
export const FRAME_HEADER_BYTES = 8;
/** Longest record with its frame, in bytes. */
export const FRAME_BYTES_MAX = FRAME_HEADER_BYTES + CLICK_BYTES_MAX;

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

/** The CRC of a record covers its length too: a tail of zeros, as power loss leaves it, is not a record. */
export function checksum(payload: Buffer): number {
  return crc32(payload, payload.length);
}

/** Payloads that lie whole in `bytes` from `at` on, at most `limit`; `end` is where the next frame begins. */
export function readFrames(
  bytes: Buffer,
  at: number,
  limit: number,
): { payloads: Buffer[]; end: number; damaged: boolean } {
  const payloads: Buffer[] = [];
  let end = at;
  while (payloads.length < limit && end + FRAME_HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32BE(end);
    if (length === 0 || length > CLICK_BYTES_MAX) return { payloads, end, damaged: true };
    const from = end + FRAME_HEADER_BYTES;
    if (from + length > bytes.length) break;
    const payload = bytes.subarray(from, from + length);
    if (bytes.readUInt32BE(end + 4) !== checksum(payload)) return { payloads, end, damaged: true };
    payloads.push(payload);
    end = from + length;
  }
  return { payloads, end, damaged: false };
}

/** Counts the whole records of a segment: how a spool whose owner died learns how many it had accepted. */
export function countRecords(path: string): number {
  const file = openSync(path, 'r');
  try {
    const window = Buffer.allocUnsafe(1_048_576);
    let position = SEGMENT_HEADER.length;
    let count = 0;
    for (;;) {
      const read = readSync(file, window, 0, window.length, position);
      const { payloads, end } = readFrames(window.subarray(0, read), 0, Number.POSITIVE_INFINITY);
      if (payloads.length === 0) return count;
      count += payloads.length;
      position += end;
    }
  } finally {
    closeSync(file);
  }
}
