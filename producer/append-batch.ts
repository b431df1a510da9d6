import { FRAME_BYTES_MAX, FRAME_HEADER_BYTES, writeFrameHeader } from './spool-format.ts';

/** Called with the sequence of the recorded click, or with `null` if the spool could not record it. */
export type AppendCallback = (sequence: number | null) => void;

const INITIAL_BYTES = 262_144;

/** The clicks of one batch: `ends[i]` is the offset in `bytes` behind the frame of click i. */
export type TakenBatch = { readonly ends: readonly number[]; readonly callbacks: readonly AppendCallback[] };

/** The frames of the clicks that were appended in one event-loop iteration, in one buffer that grows as needed. */
export class AppendBatch {
  /** The frames. Valid after `take` until the next `add`. */
  bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  private length = 0;
  private ends: number[] = [];
  private callbacks: AppendCallback[] = [];

  /** Adds an encoded click of at most `CLICK_BYTES_MAX` bytes. Throws on a longer one. */
  add(click: string, callback: AppendCallback): void {
    // UTF-8 has at most 3 bytes for each UTF-16 code unit.
    const bytesNeeded = this.length + FRAME_HEADER_BYTES + click.length * 3;
    if (bytesNeeded > this.bytes.length) this.grow(bytesNeeded);
    const payloadAt = this.length + FRAME_HEADER_BYTES;
    const payloadBytes = this.bytes.write(click, payloadAt);
    if (payloadBytes + FRAME_HEADER_BYTES > FRAME_BYTES_MAX) {
      throw new Error(
        `Expected a click of at most ${FRAME_BYTES_MAX - FRAME_HEADER_BYTES} bytes, got ${payloadBytes}`,
      );
    }
    this.length = payloadAt + payloadBytes;
    this.ends.push(this.length);
    this.callbacks.push(callback);
  }

  /** Returns the clicks and begins a new batch in the same buffer. */
  take(): TakenBatch {
    const { ends, callbacks } = this;
    this.ends = [];
    this.callbacks = [];
    this.length = 0;
    return { ends, callbacks };
  }

  /** Writes the headers of the frames that end at `ends`. `firstIndex` is the index in the segment of the first one. */
  writeHeaders(ends: readonly number[], firstIndex: number): void {
    let at = 0;
    for (let frame = 0; frame < ends.length; frame += 1) {
      const end = ends[frame] ?? at;
      writeFrameHeader(this.bytes, at, end - at - FRAME_HEADER_BYTES, firstIndex + frame);
      at = end;
    }
  }

  private grow(bytesNeeded: number): void {
    const larger = Buffer.allocUnsafe(Math.max(bytesNeeded, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }
}
