/** The result of reading one line of a recording. `line` counts from 1. */
export type LineResult = ReadClick | ReadRequest | UnplayableLine;

/** A click event. Fields that can be looked up or generated may be missing. */
export type ReadClick = {
  readonly is: 'event';
  readonly line: number;
  /** Unix ms. */
  readonly clickedAt: number;
  readonly adId: number;
  /** The fields of the line, under the names of a click event. */
  readonly event: Readonly<Record<string, unknown>>;
};

/** A request of a link that the ad server redirected. */
export type ReadRequest = {
  readonly is: 'request';
  readonly line: number;
  /** Unix ms. */
  readonly clickedAt: number;
  /** Precision of `clickedAt`, in ms. Most logs have whole seconds. */
  readonly precisionMs: number;
  /** Path and query of the link. */
  readonly path: string;
  readonly userAgent: string | null;
  readonly referrer: string | null;
  /** The visitor's address; `null` if the recording has none. */
  readonly address: string | null;
  /** Identifies the visitor: the address, or the text that the recording has in its place. */
  readonly visitor: string;
  /** An untrusted proxy that forwarded the request for another address; `null` without one. */
  readonly ignoredProxy: string | null;
};

/** A click of a recording. */
export type RecordedClick = ReadClick | ReadRequest;

/** A line that cannot be read (`broken`), or is not a click (`skipped`). Skipped lines are counted by `why`, which has few distinct values. */
export type UnplayableLine = {
  readonly is: 'broken' | 'skipped';
  readonly line: number;
  readonly why: string;
};

/** Reads all lines of a file, which come without line endings. */
export type Reader = (lines: AsyncIterable<Buffer>) => AsyncGenerator<LineResult>;
