import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printLine } from '../../cli/print.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import type { BenchResult } from './result.ts';

/** The last accepted ratios by name of the row. */
export type Baseline = Readonly<Record<string, number>>;

/** A row compared with its accepted ratio. `new`: the baseline does not have the row. */
export type Comparison = {
  readonly name: string;
  readonly verdict: 'fell' | 'rose' | 'held' | 'new';
  readonly ratio: number;
  readonly baseline: number | null;
  /** Largest difference from the baseline that counts as noise. */
  readonly tolerance: number;
};

export const BASELINE_PATH = join(import.meta.dirname, 'baseline.json');
/** Usual difference between two runs on the same machine, as a share of the baseline. */
const TOLERANCE_MIN = 0.15;
/** Upper limit of the tolerance that a large spread of rounds can give, as a share of the baseline. */
const TOLERANCE_MAX = 0.4;
/** Cap of ratios. Far above the bar a change is noise, such as for a drain that takes 0.1 s of at most 10 s. */
const RATIO_MAX = 3;

/**
 * Compares rows with the baseline. A ratio fell or rose if it differs from the baseline by more than the larger of 15 % and half of the spread of
 * its rounds.
 */
export function compareWithBaseline(results: readonly BenchResult[], baseline: Baseline): Comparison[] {
  return results.map((result) => {
    const { name } = result;
    const ratio = Math.min(result.ratio, RATIO_MAX);
    const accepted = baseline[name];
    if (accepted === undefined) return { name, verdict: 'new', ratio, baseline: null, tolerance: 0 };
    const [worst, best] = result.spread ?? [ratio, ratio];
    const noise = Math.max(TOLERANCE_MIN * accepted, (best - worst) / 2);
    const tolerance = Math.min(TOLERANCE_MAX * accepted, noise);
    const change = ratio - accepted;
    const verdict = change < -tolerance ? 'fell' : change > tolerance ? 'rose' : 'held';
    return { name, verdict, ratio, baseline: accepted, tolerance };
  });
}

/** The baseline with the ratios of these rows. Other ratios stay unchanged. */
export function acceptInto(baseline: Baseline, results: readonly BenchResult[]): Baseline {
  const accepted = results.map(({ name, ratio }) => [name, Math.min(ratio, RATIO_MAX)] as const);
  return Object.fromEntries([...Object.entries(baseline), ...accepted].sort(byName));
}

function byName([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Reads a baseline; it is empty if the file does not exist. Throws `bad_baseline`. */
export function readBaseline(path = BASELINE_PATH): Baseline {
  try {
    return parseBaseline(readFileSync(path, 'utf8'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    const message = `${path}: expected an object of ratios by name: ${errorMessage(cause)}`;
    throw new TollwayError('bad_baseline', message, { cause });
  }
}

function parseBaseline(text: string): Baseline {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('the JSON is not an object');
  const wrong = Object.entries(value).find(
    ([, ratio]) => typeof ratio !== 'number' || !Number.isFinite(ratio) || ratio < 0,
  );
  if (wrong) throw new Error(`${wrong[0]} is ${JSON.stringify(wrong[1])}`);
  return value as Baseline;
}

/** Writes a baseline atomically. */
export function writeBaseline(baseline: Baseline, path = BASELINE_PATH): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(baseline, null, 2)}\n`);
  renameSync(temporary, path);
}

/** Prints the rows that changed, worst first, and the number of rows that held. */
export function printComparison(comparisons: readonly Comparison[]): void {
  const changed = comparisons.filter(({ verdict }) => verdict === 'fell' || verdict === 'rose');
  const changeOf = ({ ratio, baseline }: Comparison) => (ratio - (baseline ?? 0)) / (baseline || 1);
  for (const row of changed.toSorted((a, b) => changeOf(a) - changeOf(b))) {
    const percent = (share: number) => `${(share * 100).toFixed(0)} %`;
    printLine(
      `${row.name} ${row.verdict} from ${row.baseline?.toFixed(2)} to ${row.ratio.toFixed(2)}: ${percent(changeOf(row))}, ` +
        `with a tolerance of ${percent(row.tolerance / (row.baseline || 1))}`,
    );
  }
  const added = comparisons.filter(({ verdict }) => verdict === 'new').map(({ name }) => name);
  if (added.length > 0) printLine(`Not in the baseline yet: ${added.join(', ')}`);
  const held = comparisons.filter(({ verdict }) => verdict === 'held').length;
  printLine(`Against the baseline: ${changed.length} of ${comparisons.length} changed, ${held} held`);
}
