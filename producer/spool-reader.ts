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

/** Records read from a spool. */
export type SpoolRead = {
  /** Sequence of the first payload; the others follow without a gap. */
  readonly firstSequence: number;
  /** The encoded clicks, as views of a buffer that the next `read` overwrites. */
  readonly payloads: readonly Buffer[];
  /** Number of accepted records before the first payload that could not be read back and were skipped. */
  readonly damaged: number;
};

/** Reads the records of a spool in order, beginning at `next`. Uses one window of memory, independent of the size of the spool. */
export class SpoolReader {
  /** The next sequence to read. */
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

  /**
   * Reads at most `limit` records, none above sequence `accepted`: bytes behind that can be incomplete. Throws errors of the file system.
   */
  read(accepted: number, limit: number): SpoolRead {
    if (this.next > accepted) return { firstSequence: this.next, payloads: [], damaged: 0 };
    const segments = listSegments(this.folder);
    const index = segments.findLastIndex((segment) => segment.firstSequence <= this.next);
    const segment = segments[index];
    // A segment ends with the sequence before the next segment's. Later bytes are left over from a failed truncation.
    const end = Math.min(segments[index + 1]?.firstSequence ?? accepted + 1, accepted + 1);
    const frames = segment ? this.readRun(segment, Math.min(end, this.next + limit)) : [];
    const [first] = frames;
    const requested = this.next;
    if (!segment || !first) {
      this.closeFile();
      this.next = end;
      return { firstSequence: end, payloads: [], damaged: end - requested };
    }
    const firstSequence = segment.firstSequence + first.index;
    this.next = firstSequence + frames.length;
    return {
      firstSequence,
      payloads: frames.map(({ payload }) => payload),
      damaged: firstSequence - requested,
    };
  }

  /** Closes a segment that will be deleted. An open file would keep its space on the disk. */
  closeSegment(segment: Segment): void {
    if (this.segment?.firstSequence === segment.firstSequence) this.closeFile();
  }

  close(): void {
    this.closeFile();
  }

  /** Returns the first frames from `next` to `end` without a gap between them; none if the segment has no more. */
  private readRun(segment: Segment, end: number): Frame[] {
    this.openFile(segment);
    const from = this.next - segment.firstSequence;
    for (;;) {
      const read = readSync(this.file, this.window, 0, WINDOW_BYTES, this.position);
      const frames = readFrames(this.window.subarray(0, read), from, end - segment.firstSequence);
      const [first] = frames;
      if (first) {
        const gap = frames.findIndex((frame, index) => frame.index !== first.index + index);
        const run = gap < 0 ? frames : frames.slice(0, gap);
        this.position += run.at(-1)?.end ?? 0;
        return run;
      }
      if (read < WINDOW_BYTES) return [];
      this.position += WINDOW_BYTES - FRAME_BYTES_MAX;
    }
  }

  private openFile(segment: Segment): void {
    if (this.segment?.firstSequence === segment.firstSequence) return;
    this.closeFile();
    this.file = openSync(segment.path, 'r');
    this.segment = segment;
    this.position = SEGMENT_HEADER.length;
  }

  private closeFile(): void {
    if (this.segment === null) return;
    closeSync(this.file);
    this.segment = null;
  }
}
