/** What one line of a recording is. `line` counts from 1. */
export type Reading = ReadClick | ReadRequest | UnplayableLine;

/** A click event, perhaps without fields that can be looked up or made. */
export type ReadClick = {
  readonly is: 'event';
  readonly line: number;
  /** Unix ms. */
  readonly clickedAt: number;
  readonly adId: number;
  /** The fields that are there, under the names of a click event. */
  readonly event: Readonly<Record<string, unknown>>;
};

/** A request of a link that was redirected. */
export type ReadRequest = {
  readonly is: 'request';
  readonly line: number;
  /** Unix ms. */
  readonly clickedAt: number;
  /** How exact that is, in ms: most logs know whole seconds. */
  readonly precisionMs: number;
  /** Path and query of the link. */
  readonly path: string;
  readonly userAgent: string | null;
  readonly referrer: string | null;
  /** The visitor's address; `null` where the recording has none. */
  readonly address: string | null;
  /** Tells visitors apart: the address, or what the recording has in place of one. */
  readonly visitor: string;
  /** A proxy that named another address, and is not trusted. */
  readonly ignoredProxy: string | null;
};

/** A click as it was recorded. */
export type RecordedClick = ReadClick | ReadRequest;

/** A line that cannot be read, or one that is no click; `why` of the latter is one of few, as they are counted by it. */
export type UnplayableLine = {
  readonly is: 'broken' | 'skipped';
  readonly line: number;
  readonly why: string;
};

/** Reads a format: the lines of a file, without their ends, from the first on. */
export type Reader = (lines: AsyncIterable<Buffer>) => AsyncGenerator<Reading>;
