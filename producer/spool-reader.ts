import { closeSync, openSync, readSync } from 'node:fs';
import {
  FRAME_BYTES_MAX,
  type Frame,
  listSegments,
  readFrames,
  SEGMENT_HEADER,
  type Segment,
  WINDOW_BYTES,
} from './spool-format.ts';

export type SpoolRead = {
  /** Sequence of the first payload; the others follow without a gap. */
  readonly firstSequence: number;
  /** Views of a buffer that the next `read` overwrites. */
  readonly payloads: readonly Buffer[];
  /** Accepted records before the first payload that could not be read back and were passed over. */
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
    if (this.next > accepted) return { firstSequence: this.next, payloads: [], damaged: 0 };
    const segments = listSegments(this.folder);
    const index = segments.findLastIndex((segment) => segment.firstSequence <= this.next);
    const segment = segments[index];
    // A segment ends where the next begins; bytes behind that were cut off and stayed by a failure.
    const end = Math.min(segments[index + 1]?.firstSequence ?? accepted + 1, accepted + 1);
    const frames = segment ? this.readRun(segment, Math.min(end, this.next + limit)) : [];
    const [first] = frames;
    const asked = this.next;
    if (!segment || !first) {
      this.leave();
      this.next = end;
      return { firstSequence: end, payloads: [], damaged: end - asked };
    }
    const firstSequence = segment.firstSequence + first.index;
    this.next = firstSequence + frames.length;
    return { firstSequence, payloads: frames.map(({ payload }) => payload), damaged: firstSequence - asked };
  }

  /** Closes a segment that is to be deleted, if it is open: until then it keeps its room on the disk. */
  closeSegment(segment: Segment): void {
    if (this.segment?.firstSequence === segment.firstSequence) this.leave();
  }

  close(): void {
    this.leave();
  }

  /** The first run of frames without a gap between `next` and `end`; empty when the segment has none left. */
  private readRun(segment: Segment, end: number): Frame[] {
    this.enter(segment);
    const from = this.next - segment.firstSequence;
    for (;;) {
      const read = readSync(this.file, this.window, 0, WINDOW_BYTES, this.position);
      const frames = readFrames(this.window.subarray(0, read), from, end - segment.firstSequence);
      const [first] = frames;
      if (first) {
        const gap = frames.findIndex((frame, place) => frame.index !== first.index + place);
        const run = gap < 0 ? frames : frames.slice(0, gap);
        this.position += run.at(-1)?.end ?? 0;
        return run;
      }
      if (read < WINDOW_BYTES) return [];
      this.position += WINDOW_BYTES - FRAME_BYTES_MAX;
    }
  }

  private enter(segment: Segment): void {
    if (this.segment?.firstSequence === segment.firstSequence) return;
    this.leave();
    this.file = openSync(segment.path, 'r');
    this.segment = segment;
    this.position = SEGMENT_HEADER.length;
  }

  private leave(): void {
    if (this.segment === null) return;
    closeSync(this.file);
    this.segment = null;
  }
}
