import type { Reading, Recorded, Unplayable } from './reading.ts';

/** Broken lines that are shown. */
const SHOWN_MAX = 5;
/** Reasons for leaving a line out that are told apart. */
const REASONS_MAX = 20;

/** What the lines of a file came to. */
export type LineTally = {
  /** Empty lines are none. */
  lines: number;
  broken: number;
  /** The first broken ones. */
  readonly shown: Unplayable[];
  /** Lines that are no click to be replayed, by reason. */
  readonly skipped: Map<string, number>;
};

export function createLineTally(): LineTally {
  return { lines: 0, broken: 0, shown: [], skipped: new Map() };
}

/** Counts a line that is not replayed. */
export function countUnplayable(tally: LineTally, unplayable: Unplayable): void {
  const { why } = unplayable;
  if (unplayable.is === 'skipped') {
    const key = tally.skipped.has(why) || tally.skipped.size < REASONS_MAX ? why : 'other reasons';
    tally.skipped.set(key, (tally.skipped.get(key) ?? 0) + 1);
    return;
  }
  tally.broken += 1;
  if (tally.shown.length < SHOWN_MAX) tally.shown.push(unplayable);
}

/** The clicks among the lines; the others are counted as they pass. */
export async function* clicksAmong(
  readings: AsyncIterable<Reading>,
  tally: LineTally,
): AsyncGenerator<Recorded> {
  for await (const reading of readings) {
    tally.lines += 1;
    if (reading.is === 'event' || reading.is === 'request') yield reading;
    else countUnplayable(tally, reading);
  }
}
