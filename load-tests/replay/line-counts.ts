import type { LineResult, RecordedClick, UnplayableLine } from './line-result.ts';

/** Broken lines that the report shows. */
const SHOWN_MAX = 5;
/** Limit of distinct reasons for skipped lines that are counted separately. */
const REASONS_MAX = 20;

/** The counts of the lines of a file. */
export type LineCounts = {
  /** All lines except empty ones. */
  lines: number;
  broken: number;
  /** The first broken lines. */
  readonly shown: UnplayableLine[];
  /** Number of skipped lines by reason. */
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

/** Yields the clicks of a file, and counts its other lines. */
export async function* clicksAmong(
  readings: AsyncIterable<LineResult>,
  lineCounts: LineCounts,
): AsyncGenerator<RecordedClick> {
  for await (const reading of readings) {
    lineCounts.lines += 1;
    if (reading.is === 'event' || reading.is === 'request') yield reading;
    else countUnplayable(lineCounts, reading);
  }
}
