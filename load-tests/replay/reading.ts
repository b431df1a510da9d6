/** What one line of a recording is. `line` counts from 1. */
export type Reading = ReadClick | ReadRequest | Unplayable;

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
  /** Unix ms; a log knows whole seconds. */
  readonly clickedAt: number;
  readonly path: string;
  readonly token: string;
  readonly userAgent: string | null;
  readonly referrer: string | null;
  readonly address: string;
};

/** A click as it was recorded. */
export type Recorded = ReadClick | ReadRequest;

/** A line that cannot be read, or one that is no click; `why` of the latter is one of few, as they are counted by it. */
export type Unplayable = {
  readonly is: 'broken' | 'skipped';
  readonly line: number;
  readonly why: string;
};

/** Reads a format: the lines of a file, without their ends, from the first on. */
export type Reader = (lines: AsyncIterable<Buffer>) => AsyncGenerator<Reading>;
