import { availableParallelism, loadavg } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../../cli/parse.ts';
import { printLine } from '../../cli/print.ts';
import { settings } from '../../common/config/config.ts';
import { errorMessage } from '../../common/errors.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { createProgress } from '../progress.ts';
import { acceptInto, compareWithBaseline, printComparison, readBaseline, writeBaseline } from './baseline.ts';
import { benchOf, DEFAULT_NAMES, OPTIONAL_NAMES } from './benches.ts';
import { ResourceScope } from './resource-scope.ts';
import { type BenchResult, printResults } from './result.ts';
import { writeResults } from './results-file.ts';

const ROUNDS_MIN = 5;
const ROUNDS_MAX = 100;
/** Exit code of a process that a signal ended: 128 and its number. */
const INTERRUPTED = 130;

const { only, rounds, time, json, compare, accept } = new Command('bench')
  .description(
    'Measures every bar, each against its reference in the same run. Uses only what it starts itself.',
  )
  .addOption(
    new Option('--only <names>', `some of ${[...DEFAULT_NAMES, ...OPTIONAL_NAMES].join(', ')}`)
      .argParser(parseNames)
      .default(DEFAULT_NAMES, `all but ${OPTIONAL_NAMES.join(', ')}`),
  )
  .option('--rounds <count>', `rounds that medians are taken of, ${ROUNDS_MIN}–${ROUNDS_MAX}`, parseRounds, 5)
  .option('--time <time>', 'length of the load on the embedded stack (default: 1m)', parseTime, 60_000)
  .option('--json <file>', 'also write the rows to a file')
  .option('--compare', 'also compare the ratios with the last accepted ones')
  .addOption(
    new Option('--accept', 'accept the measured ratios: the next to compare with').conflicts('compare'),
  )
  .addHelpText(
    'after',
    `
Examples:
  npm run bench
  npm run bench -- --only redirect,charge-1 --rounds 9
  npm run bench -- --only embedded --time 15s --json bench.json
  npm run bench -- --only charge-1000,charge-1 --compare

Without --only it takes less than ten minutes. Of those that are only run when named, charge-large makes a ledger of 20
million rows first (minutes, 8 GB below the folder for temporary files), and charge-writers and runtimes only inform.
redirect-nginx is measured where nginx is installed.

"ratio" is such that more is better: ours to the reference, or, where the reference is a most, the other way round.
--compare reads load-tests/bench/baseline.json. A ratio fell that is below it by more than 15 %, or by more than half of
what its rounds differ by. With --json, each row has its "baseline", "tolerance" and "verdict" (fell, rose, held, new).
Ratios to a limit in absolute numbers are those of the machine that they were accepted on.
Exit code: 0 every bar is met, and with --compare no ratio fell; 1 one is not, did, or could not be measured.
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

// Before anything is measured: a baseline that cannot be read is known at once.
const baseline = compare || accept ? readBaseline() : {};
const resources = new ResourceScope();
const progress = createProgress(process.stderr);
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    interrupted = true;
    progress.say('Ending what was started');
    await resources.close();
    process.exit(INTERRUPTED);
  });
}

// What is measured are the defaults, whatever is set here.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !(name in settings)));
const results: BenchResult[] = [];
const logger = createLogger('bench', { LOG_LEVEL: 'warn', LOG_FORMAT: 'json' });
for (const name of only) {
  try {
    progress.say(`Measuring ${name}; load ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores`);
    const bench = benchOf(name);
    if (bench) results.push(...(await bench({ resources, progress, logger, rounds, env, embeddedMs: time })));
  } catch (error) {
    // What was ended under its hands fails: that is no news.
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
const short = results.filter(({ met }) => met === false);
if (short.length > 0) {
  printLine(`Not met: ${short.map(({ name }) => name).join(', ')}`);
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
    `Expected some of ${[...DEFAULT_NAMES, ...OPTIONAL_NAMES].join(',')}, got "${unknown}"`,
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
