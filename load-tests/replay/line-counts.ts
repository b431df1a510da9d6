import type { Reading, RecordedClick, UnplayableLine } from './reading.ts';

/** Broken lines that are shown. */
const SHOWN_MAX = 5;
/** Reasons for leaving a line out that are told apart. */
const REASONS_MAX = 20;

/** What the lines of a file came to. */
export type LineCounts = {
  /** Empty lines are none. */
  lines: number;
  broken: number;
  /** The first broken ones. */
  readonly shown: UnplayableLine[];
  /** Lines that are no click to be replayed, by reason. */
  readonly skipped: Map<string, number>;
};

export function createLineCounts(): LineCounts {
  return { lines: 0, broken: 0, shown: [], skipped: new Map() };
}

/** Counts a line that is not replayed. */
export function countUnplayable(lineCounts: LineCounts, unplayable: UnplayableLine): void {
  const { why } = unplayable;
  if (unplayable.is === 'skipped') {
    const key = lineCounts.skipped.has(why) || lineCounts.skipped.size < REASONS_MAX ? why : 'other reasons';
    lineCounts.skipped.set(key, (lineCounts.skipped.get(key) ?? 0) + 1);
    return;
  }
  lineCounts.broken += 1;
  if (lineCounts.shown.length < SHOWN_MAX) lineCounts.shown.push(unplayable);
}

/** The clicks among the lines; the others are counted as they pass. */
export async function* clicksAmong(
  readings: AsyncIterable<Reading>,
  lineCounts: LineCounts,
): AsyncGenerator<RecordedClick> {
  for await (const reading of readings) {
    lineCounts.lines += 1;
    if (reading.is === 'event' || reading.is === 'request') yield reading;
    else countUnplayable(lineCounts, reading);
  }
}
