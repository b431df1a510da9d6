import { closeSync, openSync, readSync } from 'node:fs';
import { FRAME_BYTES_MAX, listSegments, readFrames, SEGMENT_HEADER, type Segment } from './spool-format.ts';

/** Bytes read at once: many records, and always more than one. */
const WINDOW_BYTES = Math.max(1_048_576, 2 * FRAME_BYTES_MAX);

export type SpoolRead = {
  /** Sequence of the first payload. */
  readonly firstSequence: number;
  /** Views of a buffer that the next `read` overwrites. */
  readonly payloads: readonly Buffer[];
  /** Accepted records that could not be read back and were passed over. */
  readonly damaged: number;
};

/** Reads a spool's records in order, from `next` on. Memory: one window, however far it is behind. */
export class SpoolReader {
  /** The sequence that is read next. */
  next: number;
  private readonly folder: string;
  private readonly window = Buffer.allocUnsafe(WINDOW_BYTES);
  private segment: Segment | null = null;
  private file = -1;
  private position = 0;

  constructor(folder: string, next: number) {
    this.folder = folder;
    this.next = next;
  }

  /** At most `limit` records, none above `accepted`: what lies behind it may be half written. */
  read(accepted: number, limit: number): SpoolRead {
    const firstSequence = this.next;
    if (this.next > accepted) return { firstSequence, payloads: [], damaged: 0 };
    const segments = listSegments(this.folder);
    const index = segments.findLastIndex((segment) => segment.firstSequence <= this.next);
    const segment = segments[index];
    // A segment ends where the next begins; bytes behind that were cut off and stayed by a failure.
    const end = Math.min(segments[index + 1]?.firstSequence ?? accepted + 1, accepted + 1);
    if (segment && this.enter(segment)) {
      const { payloads, bytes } = this.readWindow(Math.min(limit, end - this.next));
      if (payloads.length > 0) {
        this.position += bytes;
        this.next += payloads.length;
        return { firstSequence, payloads, damaged: 0 };
      }
    }
    this.leave();
    this.next = end;
    return { firstSequence, payloads: [], damaged: end - firstSequence };
  }

  close(): void {
    this.leave();
  }

  /** Opens a segment at `next`; false if the records before `next` cannot be passed. */
  private enter(segment: Segment): boolean {
    if (this.segment?.firstSequence === segment.firstSequence) return true;
    this.leave();
    this.file = openSync(segment.path, 'r');
    this.segment = segment;
    this.position = SEGMENT_HEADER.length;
    for (let skip = this.next - segment.firstSequence; skip > 0; ) {
      const { payloads, bytes } = this.readWindow(skip);
      if (payloads.length === 0) return false;
      this.position += bytes;
      skip -= payloads.length;
    }
    return true;
  }

  private readWindow(limit: number): { payloads: Buffer[]; bytes: number } {
    const read = readSync(this.file, this.window, 0, WINDOW_BYTES, this.position);
    const { payloads, end } = readFrames(this.window.subarray(0, read), 0, limit);
    return { payloads, bytes: end };
  }

  private leave(): void {
    if (this.segment === null) return;
    closeSync(this.file);
    this.segment = null;
  }
}
