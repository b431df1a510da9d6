/** A set of whole numbers as disjoint, ascending ranges that do not touch; `end` is exclusive. */
export type Sequences = readonly { readonly start: number; readonly end: number }[];

/** Parses PostgreSQL's `int8multirange`, such as `{[1,501),[503,600)}`. */
export function parseMultirange(text: string): Sequences {
  return [...text.matchAll(/\[(\d+),(\d+)\)/g)].map(([, start, end]) => ({
    start: Number(start),
    end: Number(end),
  }));
}

/** Returns the ranges of numbers, which can be in any order and repeat. */
export function sequencesOf(numbers: Iterable<number>): Sequences {
  const ranges: { start: number; end: number }[] = [];
  for (const number of Float64Array.from(numbers).sort()) {
    const last = ranges.at(-1);
    if (last && number <= last.end) last.end = Math.max(last.end, number + 1);
    else ranges.push({ start: number, end: number + 1 });
  }
  return ranges;
}

/** Numbers that {@link SequenceCollector} holds one by one before it makes ranges of them. */
const COLLECTED_MAX = 65_536;

/** Collects numbers in any order. It needs memory for their ranges, not for each number. */
export class SequenceCollector {
  private ranges: Sequences = [];
  private numbers: number[] = [];

  add(number: number): void {
    this.numbers.push(number);
    // With many ranges a union takes longer, so there are fewer of them.
    if (this.numbers.length >= Math.max(COLLECTED_MAX, this.ranges.length)) this.collected();
  }

  /** Returns the ranges of all numbers so far. */
  collected(): Sequences {
    this.ranges = uniteSequences(this.ranges, sequencesOf(this.numbers));
    this.numbers = [];
    return this.ranges;
  }
}

/** Formats ranges as PostgreSQL's `int8multirange`. */
export function formatMultirange(sequences: Sequences): string {
  return `{${sequences.map(({ start, end }) => `[${start},${end})`).join(',')}}`;
}

/** Returns the union of two sets. */
export function uniteSequences(one: Sequences, other: Sequences): Sequences {
  if (one.length === 0) return other;
  if (other.length === 0) return one;
  const united: { start: number; end: number }[] = [];
  for (let at = 0, otherAt = 0; at < one.length || otherAt < other.length; ) {
    const isFirst =
      (one[at]?.start ?? Number.POSITIVE_INFINITY) <= (other[otherAt]?.start ?? Number.POSITIVE_INFINITY);
    const next = isFirst ? one[at++] : other[otherAt++];
    const last = united.at(-1);
    if (!next) break;
    if (last && next.start <= last.end) last.end = Math.max(last.end, next.end);
    else united.push({ start: next.start, end: next.end });
  }
  return united;
}

/** Returns how many numbers the ranges contain. */
export function countSequences(sequences: Sequences): number {
  return sequences.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Returns the numbers of `from` that are not in `removed`. */
export function subtractSequences(from: Sequences, removed: Sequences): Sequences {
  const left: { start: number; end: number }[] = [];
  let next = 0;
  for (const range of from) {
    let { start } = range;
    while (next < removed.length && (removed[next]?.end ?? 0) <= start) next += 1;
    for (let at = next; start < range.end; at += 1) {
      const hole = removed[at];
      if (hole === undefined || hole.start >= range.end) {
        left.push({ start, end: range.end });
        break;
      }
      if (hole.start > start) left.push({ start, end: hole.start });
      start = Math.max(start, hole.end);
    }
  }
  return left;
}
