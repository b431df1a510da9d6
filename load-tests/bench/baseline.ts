import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printLine } from '../../cli/print.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import type { BenchResult } from './result.ts';

/** The last accepted ratios, by name of the row. */
export type Baseline = Readonly<Record<string, number>>;

/** A row beside what was accepted. `new`: nothing was. */
export type Comparison = {
  readonly name: string;
  readonly verdict: 'fell' | 'rose' | 'held' | 'new';
  readonly ratio: number;
  readonly baseline: number | null;
  /** A ratio this far from the baseline is noise. */
  readonly tolerance: number;
};

export const BASELINE_PATH = join(import.meta.dirname, 'baseline.json');
/** Share of the baseline that one run on the same machine differs from the next. */
const TOLERANCE_MIN = 0.15;
/** A round may be disturbed; rounds that differ by more than this say nothing, and excuse nothing. */
const TOLERANCE_MAX = 0.4;
/** Beyond three times what is wanted, a change is noise: of a drain that takes 0.1 s and may take 10 s. */
const RATIO_MAX = 3;

/**
 * Compares rows with the baseline. A ratio fell, or rose, if it is further from the baseline than the larger of 15 % and
 * half the distance between its best and its worst round.
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

/** The baseline with these rows accepted; what was not measured stays. */
export function acceptInto(baseline: Baseline, results: readonly BenchResult[]): Baseline {
  const accepted = results.map(({ name, ratio }) => [name, Math.min(ratio, RATIO_MAX)] as const);
  return Object.fromEntries([...Object.entries(baseline), ...accepted].sort(byName));
}

function byName([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Reads a baseline; one that is not there yet is empty. Throws `bad_baseline`. */
export function readBaseline(path = BASELINE_PATH): Baseline {
  try {
    return parseBaseline(readFileSync(path, 'utf8'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    const message = `${path}: expected an object of ratios by name, got what is none (${errorMessage(cause)})`;
    throw new TollwayError('bad_baseline', message, { cause });
  }
}

function parseBaseline(text: string): Baseline {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('no object');
  const wrong = Object.entries(value).find(
    ([, ratio]) => typeof ratio !== 'number' || !Number.isFinite(ratio) || ratio < 0,
  );
  if (wrong) throw new Error(`${wrong[0]} is ${JSON.stringify(wrong[1])}`);
  return value as Baseline;
}

/** Writes a baseline, whole or not at all. */
export function writeBaseline(baseline: Baseline, path = BASELINE_PATH): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(baseline, null, 2)}\n`);
  renameSync(temporary, path);
}

/** Says what changed, worst first, and nothing of what held but how many. */
export function printComparison(comparisons: readonly Comparison[]): void {
  const changed = comparisons.filter(({ verdict }) => verdict === 'fell' || verdict === 'rose');
  const changeOf = ({ ratio, baseline }: Comparison) => (ratio - (baseline ?? 0)) / (baseline || 1);
  for (const one of changed.toSorted((a, b) => changeOf(a) - changeOf(b))) {
    const per = (share: number) => `${(share * 100).toFixed(0)} %`;
    printLine(
      `${one.name} ${one.verdict} from ${one.baseline?.toFixed(2)} to ${one.ratio.toFixed(2)}: ${per(changeOf(one))}, ` +
        `where ${per(one.tolerance / (one.baseline || 1))} is noise`,
    );
  }
  const added = comparisons.filter(({ verdict }) => verdict === 'new').map(({ name }) => name);
  if (added.length > 0) printLine(`Not in the baseline yet: ${added.join(', ')}`);
  const held = comparisons.filter(({ verdict }) => verdict === 'held').length;
  printLine(`Against the baseline: ${changed.length} of ${comparisons.length} changed, ${held} held`);
}
