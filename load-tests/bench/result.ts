import { printLine, printTable } from '../../cli/print.ts';
import type { CpuMicros } from './cpu-samples.ts';

/** A row of the results. A higher `ratio` is better. */
export type BenchRow = {
  readonly name: string;
  readonly ours: number;
  readonly reference: number;
  readonly unit: string;
  readonly ratio: number;
  /** The ratio that must be reached; `null` for a row without a bar. */
  readonly bar: number | null;
  readonly met: boolean | null;
  /** The lowest and highest ratio of a round; `null` for a comparison with a limit. */
  readonly spread: readonly [number, number] | null;
  /** CPU time per unit of work, in µs, by process: of ours and, if it was measured, of the reference. */
  readonly cpuMicros?: { readonly ours: CpuMicros; readonly reference?: CpuMicros };
};

/** A row with notes for the printed report. */
export type BenchResult = BenchRow & {
  /** What was measured, with which parameters, and warnings. */
  readonly notes: readonly string[];
};

/** Compares values that were measured in rounds, each with its reference. The ratio is that of the medians over all rounds. */
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

/**
 * Compares values that were measured in pairs: with `min`, higher ones are better, with `max`, lower ones. The ratio is the median of the ratios of
 * the pairs, which differs from that of the medians if the machine was not equally fast in all of them.
 */
export function comparePairs(
  name: string,
  unit: string,
  kind: 'min' | 'max',
  pairs: readonly { ours: number; reference: number }[],
  notes: readonly string[],
  bar: number | null = null,
): BenchResult {
  const ratios = pairs.map(({ ours, reference }) => (kind === 'min' ? ours / reference : reference / ours));
  const ours = median(pairs.map((pair) => pair.ours));
  const reference = median(pairs.map((pair) => pair.reference));
  return {
    ...rowOf(name, unit, bar, ours, reference, median(ratios)),
    spread: [round(Math.min(...ratios)), round(Math.max(...ratios))],
    notes,
  };
}

/** Compares a value with a lower (`min`) or an upper (`max`) limit. */
export function compareLimit(
  name: string,
  unit: string,
  kind: 'min' | 'max',
  ours: number,
  limit: number,
  notes: readonly string[],
): BenchResult {
  const ratio = kind === 'min' ? ours / limit : limit / Math.max(ours, Number.EPSILON);
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

/** Rounds to four significant digits, which is more than the precision of the measurements. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** The median of numbers; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low = Number.NaN, high = Number.NaN] = [
    sorted[(sorted.length - 1) >> 1],
    sorted[sorted.length >> 1],
  ];
  return (low + high) / 2;
}

/** The median of each name, in µs. */
export function medianMicros(measured: readonly CpuMicros[]): CpuMicros {
  const names = Object.keys(measured[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [name, round(median(measured.map((one) => one[name] ?? Number.NaN)))]),
  );
}

/** Prints the table and its notes to standard output. */
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
  for (const { name, notes, cpuMicros } of results) {
    for (const note of notes) printLine(`  ${name}: ${note}`);
    if (cpuMicros) printLine(`  ${name}: CPU µs: ${formatMicros(cpuMicros.ours)}`);
    if (cpuMicros?.reference)
      printLine(`  ${name}: CPU µs of the reference: ${formatMicros(cpuMicros.reference)}`);
  }
}

/** CPU times by process, such as `redirect 8.1, processor 7.0`, in µs. */
export function formatMicros(micros: CpuMicros): string {
  return Object.entries(micros)
    .map(([name, value]) => `${name} ${value.toFixed(1)}`)
    .join(', ');
}
