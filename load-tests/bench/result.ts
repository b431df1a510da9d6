import { printLine, printTable } from '../../cli/print.ts';

/** One line of the bench. `ratio` is always such that more is better. */
export type BenchRow = {
  readonly name: string;
  readonly ours: number;
  readonly reference: number;
  readonly unit: string;
  readonly ratio: number;
  /** The least ratio that is good enough; `null` for a row that only informs. */
  readonly bar: number | null;
  readonly met: boolean | null;
  /** The lowest and highest ratio of a single round; `null` for what is compared with a limit. */
  readonly spread: readonly [number, number] | null;
};

/** A row with what a person wants to know besides. */
export type BenchResult = BenchRow & {
  /** What was measured, what with, and what makes it doubtful. */
  readonly notes: readonly string[];
};

/**
 * Compares what was measured in rounds, ours beside the reference in each: medians over the rounds, and the ratio of
 * the medians.
 */
export function compareRounds(
  name: string,
  unit: string,
  bar: number | null,
  rounds: readonly { ours: number; reference: number }[],
  notes: readonly string[],
): BenchResult {
  const ours = median(rounds.map((round) => round.ours));
  const reference = median(rounds.map((round) => round.reference));
  const ratios = rounds.map((round) => round.ours / round.reference);
  return {
    ...rowOf(name, unit, bar, ours, reference, ours / reference),
    spread: [round(Math.min(...ratios)), round(Math.max(...ratios))],
    notes,
  };
}

/** Compares one value with a limit that it must reach (`least`) or keep below (`most`). */
export function compareLimit(
  name: string,
  unit: string,
  kind: 'least' | 'most',
  ours: number,
  limit: number,
  notes: readonly string[],
): BenchResult {
  const ratio = kind === 'least' ? ours / limit : limit / Math.max(ours, Number.EPSILON);
  return { ...rowOf(name, unit, 1, ours, limit, Math.min(ratio, 1_000)), spread: null, notes };
}

function rowOf(
  name: string,
  unit: string,
  bar: number | null,
  ours: number,
  reference: number,
  ratio: number,
): Omit<BenchRow, 'spread'> {
  return {
    name,
    ours: round(ours),
    reference: round(reference),
    unit,
    ratio: round(ratio),
    bar,
    met: bar === null ? null : round(ratio) >= bar,
  };
}

/** Four digits are more than such a measurement holds. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** The middle of some numbers. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low = Number.NaN, high = Number.NaN] = [
    sorted[(sorted.length - 1) >> 1],
    sorted[sorted.length >> 1],
  ];
  return (low + high) / 2;
}

/** Writes the table and its notes to standard output. */
export function printResults(results: readonly BenchResult[]): void {
  printTable(
    results.map((result) => ({
      name: result.name,
      ours: String(result.ours),
      reference: String(result.reference),
      unit: result.unit,
      ratio: result.ratio.toFixed(2),
      spread: result.spread?.map((ratio) => ratio.toFixed(2)).join('–') ?? '',
      bar: result.bar === null ? '' : result.bar.toFixed(2),
      met: result.met === null ? '' : result.met ? 'yes' : 'NO',
    })),
    'Nothing was measured.',
  );
  for (const { name, notes } of results) {
    for (const note of notes) printLine(`  ${name}: ${note}`);
  }
}
