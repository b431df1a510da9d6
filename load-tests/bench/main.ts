import { availableParallelism, loadavg } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { printLine } from '../../cli/print.ts';
import { settings } from '../../common/config/config.ts';
import { errorMessage } from '../../common/errors.ts';
import { parseDuration } from '../../common/parse-time.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { createProgress } from '../progress-display.ts';
import { acceptInto, compareWithBaseline, printComparison, readBaseline, writeBaseline } from './baseline.ts';
import { benchOf, DEFAULT_NAMES, OPTIONAL_NAMES } from './benches.ts';
import { ResourceScope } from './resource-scope.ts';
import { type BenchResult, printResults } from './result.ts';
import { writeResults } from './results-file.ts';

const ROUNDS_MIN = 5;
const ROUNDS_MAX = 100;
/** Exit code after SIGINT: 128 plus the number of the signal. */
const INTERRUPTED = 130;

const { only, rounds, time, json, compare, accept } = new Command('bench')
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
  .option('--time <time>', 'duration of the load on the embedded stack (default: 1m)', parseTime, 60_000)
  .option('--json <file>', 'also write the rows to a file')
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

Without --only the run takes less than ten minutes. charge-large first fills a ledger with 20 million rows (some minutes, 8 GB
in the folder for temporary files). charge-writers and runtimes have no bars. redirect-nginx needs an installed nginx.

A higher "ratio" is better: it is ours divided by the reference, or, if the reference is an upper limit, the reference divided by
ours. --compare reads load-tests/bench/baseline.json. A ratio fell if it is below its baseline by more than 15 % and by more than
half of the spread of its rounds. With --json, each row then has a "baseline", a "tolerance" and a "verdict" (fell, rose, held,
new). Ratios to absolute limits depend on the machine on which they were accepted.

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
    json?: string;
    compare?: true;
    accept?: true;
  }>();

// Reads the baseline before the measurements, so that an invalid file is reported at once.
const baseline = compare || accept ? readBaseline() : {};
const resources = new ResourceScope();
const progress = createProgress(process.stderr);
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    interrupted = true;
    progress.say('Stopping the servers');
    await resources.close();
    process.exit(INTERRUPTED);
  });
}

// The benchmarks measure the default settings, so settings in the environment are removed.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !(name in settings)));
const results: BenchResult[] = [];
const logger = createLogger('bench', { LOG_LEVEL: 'warn', LOG_FORMAT: 'json' });
for (const name of only) {
  try {
    progress.say(`Measuring ${name}; load ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores`);
    const bench = benchOf(name);
    if (bench) results.push(...(await bench({ resources, progress, logger, rounds, env, embeddedMs: time })));
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

function parseNames(text: string): string[] {
  const names = text.split(',');
  const unknown = names.find((name) => benchOf(name) === undefined);
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(
    `Expected names of ${[...DEFAULT_NAMES, ...OPTIONAL_NAMES].join(',')}, got "${unknown}"`,
  );
}

function parseRounds(text: string): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count >= ROUNDS_MIN && count <= ROUNDS_MAX) return count;
  throw new InvalidArgumentError(`Expected a whole number of ${ROUNDS_MIN}–${ROUNDS_MAX}, got "${text}"`);
}

function parseTime(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(errorMessage(error));
  }
}
