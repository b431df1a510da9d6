import { availableParallelism, loadavg } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { printLine } from '../../cli/print.ts';
import { settings } from '../../common/config/config.ts';
import { errorMessage } from '../../common/errors.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { time as durationOption, parseRate } from '../arguments.ts';
import { createProgress } from '../progress-display.ts';
import { benchAgainst } from './against.ts';
import { acceptInto, compareWithBaseline, printComparison, readBaseline, writeBaseline } from './baseline.ts';
import { benchOf, COMPARING_NAMES, DEFAULT_NAMES, OPTIONAL_NAMES } from './benches.ts';
import { type Checkout, checkOut } from './checkout.ts';
import { ResourceScope } from './resource-scope.ts';
import { type BenchResult, printResults } from './result.ts';
import { writeResults } from './results-file.ts';

const ROUNDS_MIN = 5;
const ROUNDS_MAX = 100;
/** Exit code after SIGINT: 128 plus the number of the signal. */
const INTERRUPTED = 130;

const { only, rounds, time, rate, set, json, against, pairs, compare, accept } = new Command('bench')
  .description(
    'Measures every bar against its reference in the same run. Starts its own servers and databases.',
  )
  .addOption(
    new Option('--only <names>', `benchmarks to run, of ${[...DEFAULT_NAMES, ...OPTIONAL_NAMES].join(', ')}`)
      .argParser(parseNames)
      .default(DEFAULT_NAMES, `all but ${OPTIONAL_NAMES.join(', ')}`),
  )
  .option(
    '--rounds <count>',
    `measured rounds, ${ROUNDS_MIN}–${ROUNDS_MAX}; results are medians`,
    parseRounds,
    5,
  )
  .addOption(durationOption('--time <time>', 'duration of the load on the embedded stack', 60_000))
  .option('--rate <clicks>', 'clicks per second of cpu-per-click', parseRate, 5_000)
  .addOption(
    new Option(
      '--set <setting>',
      'a setting of what is measured, such as KAFKA_CLIENT=kafkajs; for the benchmarks on Kafka, and never for the other commit of --against',
    )
      .argParser(collectSetting)
      .default({}, 'none'),
  )
  .option('--json <file>', 'also write the rows to a file')
  .addOption(
    new Option(
      '--against <revision>',
      'compare with another commit, which is checked out and installed in a temporary folder',
    ).conflicts(['compare', 'accept']),
  )
  .option('--pairs <count>', 'with --against: runs of each side, in turn', parsePairs, 5)
  .option('--compare', 'also compare the ratios with the baseline')
  .addOption(new Option('--accept', 'write the measured ratios to the baseline').conflicts('compare'))
  .addHelpText(
    'after',
    `
Examples:
  npm run bench
  npm run bench -- --only redirect,charge-1 --rounds 9
  npm run bench -- --only embedded --time 15s --json bench.json
  npm run bench -- --only charge-1000,charge-1 --compare
  npm run bench -- --only cpu-per-click --against HEAD~1
  npm run bench -- --only publish-kafka --against v0.1.0 --pairs 3

Without --only the run takes less than ten minutes. charge-large first fills a ledger with 20 million rows (some minutes, 8 GB
in the folder for temporary files). charge-writers and runtimes have no bars. cpu-per-click starts the whole stack on Kafka. redirect-nginx needs an installed nginx.

A higher "ratio" is better: it is ours divided by the reference, or, if the reference is an upper limit, the reference divided by
ours. --compare reads load-tests/bench/baseline.json. A ratio fell if it is below its baseline by more than 15 % and by more than
half of the spread of its rounds. With --json, each row then has a "baseline", a "tolerance" and a "verdict" (fell, rose, held,
new). Ratios to absolute limits depend on the machine on which they were accepted.

With --against, a benchmark runs in this checkout and in that of the commit in turn, and the reference of each row is the value of that
commit: the ratio is the median of the pairs. A row "…-cpu" compares CPU times per click, which depend less on what else the machine
does than rates; a row "…-ratio" compares the ratios to a reference that each run measured itself. cpu-per-click has pairs of rounds instead.

Exit codes:
  0  every bar is met, and with --compare no ratio fell
  1  a bar is not met, a ratio fell, or a benchmark could not be measured
`,
  )
  .parse()
  .opts<{
    only: readonly string[];
    rounds: number;
    time: number;
    rate: number;
    set: Record<string, string>;
    json?: string;
    against?: string;
    pairs: number;
    compare?: true;
    accept?: true;
  }>();

// Reads the baseline before the measurements, so that an invalid file is reported at once.
const baseline = compare || accept ? readBaseline() : {};
const resources = new ResourceScope();
// The other checkout stays until the last benchmark has ended.
const checkouts = new ResourceScope();
const progress = createProgress(process.stderr);
let interrupted = false;
// With --against, this program is also a child of itself, which ends with its parent. The listener stays: signal-exit, which a library loads,
// kills the process at once if its own listener is the only one left.
for (const signal of ['SIGINT', 'SIGTERM', 'disconnect']) process.on(signal, () => void stop());
process.channel?.unref();

// The benchmarks measure the default settings and those of --set, so settings in the environment are removed.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !(name in settings)));
const results: BenchResult[] = [];
const logger = createLogger('bench', { LOG_LEVEL: 'warn', LOG_FORMAT: 'json' });
const checkout = against === undefined ? null : await openCheckout(against);
for (const name of only) {
  try {
    progress.say(`Measuring ${name}; load ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores`);
    results.push(...(await measure(name)));
  } catch (error) {
    // After an interruption, the benchmark fails because its servers are stopped. The signal handler ends the process.
    if (interrupted) await new Promise(() => {});
    process.exitCode = 1;
    progress.say(`${name} could not be measured: ${errorMessage(error)}`);
  } finally {
    progress.end();
    await resources.close();
  }
}
await checkouts.close();
printResults(results);
const comparisons = compare ? compareWithBaseline(results, baseline) : null;
if (json !== undefined) writeResults(json, results, comparisons);
if (accept) writeBaseline(acceptInto(baseline, results));
const notMet = results.filter(({ met }) => met === false);
if (notMet.length > 0) {
  printLine(`Not met: ${notMet.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}
if (comparisons) {
  printComparison(comparisons);
  if (comparisons.some(({ verdict }) => verdict === 'fell')) process.exitCode = 1;
}

async function stop(): Promise<void> {
  if (interrupted) return;
  interrupted = true;
  progress.say('Stopping the servers');
  await resources.close();
  await checkouts.close();
  process.exit(INTERRUPTED);
}

async function openCheckout(revision: string): Promise<Checkout> {
  try {
    return await checkOut(revision, { resources: checkouts, progress });
  } catch (error) {
    if (interrupted) await new Promise(() => {});
    progress.say(`Not measured: ${errorMessage(error)}`);
    await checkouts.close();
    process.exit(1);
  }
}

async function measure(name: string): Promise<BenchResult[]> {
  const context = {
    resources,
    progress,
    logger,
    rounds,
    env,
    embeddedMs: time,
    rate,
    settings: set,
    against: checkout,
  };
  if (checkout !== null && !COMPARING_NAMES.includes(name))
    return benchAgainst(name, checkout, pairs, context);
  return (await benchOf(name)?.(context)) ?? [];
}

function parseNames(text: string): string[] {
  const names = text.split(',');
  const unknown = names.find((name) => benchOf(name) === undefined);
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(
    `Expected names of ${[...DEFAULT_NAMES, ...OPTIONAL_NAMES].join(',')}, got "${unknown}"`,
  );
}

function collectSetting(text: string, before: Record<string, string>): Record<string, string> {
  const [, name = '', value = ''] = /^([A-Z_]+)=(.*)$/.exec(text) ?? [];
  if (name in settings) return { ...before, [name]: value };
  throw new InvalidArgumentError(`Expected a setting such as KAFKA_CLIENT=kafkajs, got "${text}"`);
}

function parsePairs(text: string): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= ROUNDS_MAX) return count;
  throw new InvalidArgumentError(`Expected a whole number of 1–${ROUNDS_MAX}, got "${text}"`);
}

function parseRounds(text: string): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count >= ROUNDS_MIN && count <= ROUNDS_MAX) return count;
  throw new InvalidArgumentError(`Expected a whole number of ${ROUNDS_MIN}–${ROUNDS_MAX}, got "${text}"`);
}
