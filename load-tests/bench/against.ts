import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage } from '../../common/errors.ts';
import type { BenchContext } from './bench.ts';
import { type Checkout, ROOT } from './checkout.ts';
import type { CpuMicros } from './cpu-samples.ts';
import { type BenchResult, type BenchRow, comparePairs, medianMicros } from './result.ts';

const OUR_BENCH = join(ROOT, 'load-tests/bench/main.ts');
/** Length of the end of a program's messages that an error quotes. */
const ERROR_CHARACTERS = 1_000;

/** The rows of one run of the benchmark in each checkout. */
export type Pair = { readonly ours: readonly BenchRow[]; readonly theirs: readonly BenchRow[] };

/**
 * Runs a benchmark in this checkout and in another one in turn, in alternating order, each time as a process of its own, and compares the rows
 * of the same name. The other commit is measured by the benchmark code of this checkout, so that a change of the benchmark does not look like
 * a change of Tollway. If that code does not run there, such as because it imports what that commit does not have, its own code measures it.
 */
export async function benchAgainst(
  name: string,
  against: Checkout,
  count: number,
  context: BenchContext,
): Promise<BenchResult[]> {
  const run = (program: string) => runBench(program, name, context);
  context.progress.say(`${name}: pair 1 of ${count}`);
  const { program, rows } = await findProgram(name, against, context);
  const pairs: Pair[] = [{ theirs: rows, ours: await run(OUR_BENCH) }];
  while (pairs.length < count) {
    context.progress.say(`${name}: pair ${pairs.length + 1} of ${count}`);
    const isOursFirst = pairs.length % 2 === 1;
    const first = await run(isOursFirst ? OUR_BENCH : program);
    const second = await run(isOursFirst ? program : OUR_BENCH);
    pairs.push(isOursFirst ? { ours: first, theirs: second } : { theirs: first, ours: second });
  }
  const code =
    program === against.ourBench ? 'the benchmark code of this checkout' : 'its own benchmark code';
  return compareRows(pairs, `the reference is ${against.name}, measured by ${code} in turn`);
}

/** The program that can measure the other commit, and the rows of its first run. Throws if none can. */
async function findProgram(
  name: string,
  { ourBench, ownBench, name: commit }: Checkout,
  context: BenchContext,
): Promise<{ program: string; rows: readonly BenchRow[] }> {
  try {
    return { program: ourBench, rows: await runBench(ourBench, name, context) };
  } catch (error) {
    context.progress.say(
      `${commit} is measured by its own benchmark code, because that of this checkout fails: ${errorMessage(error)}`,
    );
    return { program: ownBench, rows: await runBench(ownBench, name, context) };
  }
}

/** Runs a benchmark program for one benchmark. Throws if it does not measure anything. A bar that is not met is no error. */
async function runBench(
  program: string,
  name: string,
  { resources, rounds, env, embeddedMs, settings }: BenchContext,
): Promise<readonly BenchRow[]> {
  const json = join(resources.folder(), 'rows.json');
  const options = [
    '--only',
    name,
    '--rounds',
    String(rounds),
    '--time',
    `${embeddedMs / 1_000}s`,
    '--json',
    json,
  ];
  const ofOurs = program === OUR_BENCH ? Object.entries(settings) : [];
  for (const [setting, value] of ofOurs) options.push('--set', `${setting}=${value}`);
  // The program finds its checkout by its own path.
  const child = resources.child([process.execPath, program, ...options], {
    env,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let messages = '';
  child.stderr?.on('data', (bytes) => {
    messages = (messages + bytes).slice(-ERROR_CHARACTERS);
  });
  await once(child, 'close');
  const rows = existsSync(json) ? (JSON.parse(readFileSync(json, 'utf8')) as BenchRow[]) : [];
  rmSync(json, { force: true });
  if (rows.length === 0) throw new Error(`${name} measured nothing: ${messages.trim()}`);
  return rows;
}

/**
 * For each row that both sides have: its value in each pair. A row that was measured with a reference in the same run also gets a row
 * `…-ratio` of its ratios to that reference, and a row with CPU times a row `…-cpu`. Throws if the sides have no row in common.
 */
export function compareRows(pairs: readonly Pair[], note: string): BenchResult[] {
  const names = pairs[0]?.ours.map(({ name }) => name) ?? [];
  const results = names.flatMap((name) => {
    const rows = pairs.flatMap(({ ours, theirs }) => {
      const [our, their] = [ours, theirs].map((side) => side.find((row) => row.name === name));
      return our && their ? [{ our, their }] : [];
    });
    return rows.length === 0 ? [] : compareRow(name, rows, note);
  });
  if (results.length > 0) return results;
  throw new Error(`Expected a row that both commits have, got ${names.join(', ')} and none of them`);
}

type RowPair = { readonly our: BenchRow; readonly their: BenchRow };

function compareRow(name: string, rows: readonly RowPair[], note: string): BenchResult[] {
  const unit = rows[0]?.our.unit ?? '';
  const pairsOf = (value: (row: BenchRow) => number) =>
    rows.map(({ our, their }) => ({ ours: value(our), reference: value(their) }));
  const results = [
    comparePairs(
      name,
      unit,
      kindOf(rows),
      pairsOf(({ ours }) => ours),
      [note],
    ),
  ];
  if (rows.every(({ our, their }) => our.spread !== null && their.spread !== null))
    results.push(
      comparePairs(
        `${name}-ratio`,
        '× its reference',
        'min',
        pairsOf(({ ratio }) => ratio),
        [],
      ),
    );
  if (rows.every(({ our, their }) => our.cpuMicros && their.cpuMicros)) results.push(compareCpu(name, rows));
  return results;
}

function compareCpu(name: string, rows: readonly RowPair[]): BenchResult {
  const microsOf = ({ cpuMicros }: BenchRow): CpuMicros => cpuMicros?.ours ?? {};
  const total = (row: BenchRow) => Object.values(microsOf(row)).reduce((sum, micros) => sum + micros, 0);
  const pairs = rows.map(({ our, their }) => ({ ours: total(our), reference: total(their) }));
  return {
    ...comparePairs(`${name}-cpu`, 'µs', 'max', pairs, []),
    cpuMicros: {
      ours: medianMicros(rows.map(({ our }) => microsOf(our))),
      reference: medianMicros(rows.map(({ their }) => microsOf(their))),
    },
  };
}

/** Whether higher or lower values are better: the ratio of a row is ours by its reference, or the other way round. */
function kindOf(rows: readonly RowPair[]): 'min' | 'max' {
  const all = rows.flatMap(({ our, their }) => [our, their]);
  const distance = (ratioOf: (row: BenchRow) => number) =>
    all.reduce((sum, row) => sum + Math.abs(row.ratio - ratioOf(row)), 0);
  return distance(({ ours, reference }) => ours / reference) <=
    distance(({ ours, reference }) => reference / ours)
    ? 'min'
    : 'max';
}
