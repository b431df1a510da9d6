import { Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '../../cli/parse.ts';
import { printLine } from '../../cli/print.ts';
import { settings } from '../../common/config.ts';
import { errorMessage } from '../../common/errors.ts';
import { createLogger } from '../../common/logger.ts';
import { createProgress } from '../progress.ts';
import { Belongings } from './belongings.ts';
import type { Bench } from './bench.ts';
import { benchCharge1, benchCharge1000 } from './charge.ts';
import { benchEmbedded } from './embedded.ts';
import { benchHomes } from './home-costs.ts';
import { benchDrainKafka, benchPublishKafka } from './kafka.ts';
import { benchRedirect } from './redirect.ts';
import { type BenchResult, printResults, writeResults } from './result.ts';
import { benchStartUp } from './start-up.ts';

const BENCHES: Readonly<Record<string, Bench>> = {
  redirect: benchRedirect,
  'charge-1000': benchCharge1000,
  'charge-1': benchCharge1,
  embedded: benchEmbedded,
  'drain-kafka': benchDrainKafka,
  'publish-kafka': benchPublishKafka,
  'start-up': benchStartUp,
  homes: benchHomes,
};
const ROUNDS_MIN = 5;
const ROUNDS_MAX = 100;
/** Exit code of a process that a signal ended: 128 and its number. */
const INTERRUPTED = 130;

const { only, rounds, time, json } = new Command('bench')
  .description(
    'Measures every bar, each against its reference in the same run. Uses only what it starts itself.',
  )
  .option('--only <names>', `some of ${Object.keys(BENCHES).join(',')}`, parseNames, Object.keys(BENCHES))
  .option('--rounds <count>', `rounds that medians are taken of, ${ROUNDS_MIN}–${ROUNDS_MAX}`, parseRounds, 5)
  .option('--time <time>', 'length of the load on the embedded stack (default: 1m)', parseTime, 60_000)
  .option('--json <file>', 'also write the rows to a file')
  .addHelpText(
    'after',
    `
Examples:
  npm run bench
  npm run bench -- --only redirect,charge-1 --rounds 9
  npm run bench -- --only embedded --time 15s --json bench.json

"ratio" is such that more is better: ours to the reference, or, where the reference is a most, the other way round.
Exit code: 0 every bar is met, 1 one is not or could not be measured.
`,
  )
  .parse()
  .opts<{ only: string[]; rounds: number; time: number; json?: string }>();

const belongings = new Belongings();
const progress = createProgress(process.stderr);
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    interrupted = true;
    progress.say('Ending what was started');
    await belongings.close();
    process.exit(INTERRUPTED);
  });
}

// What is measured are the defaults, whatever is set here.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !(name in settings)));
const results: BenchResult[] = [];
const logger = createLogger('bench', { LOG_LEVEL: 'warn', LOG_FORMAT: 'json' });
for (const name of only) {
  try {
    progress.say(`Measuring ${name}`);
    const bench = BENCHES[name];
    if (bench)
      results.push(...(await bench({ belongings, progress, logger, rounds, env, embeddedMs: time })));
  } catch (error) {
    // What was ended under its hands fails: that is no news.
    if (interrupted) await new Promise(() => {});
    process.exitCode = 1;
    progress.say(`${name} could not be measured: ${errorMessage(error)}`);
  } finally {
    progress.end();
    await belongings.close();
  }
}
printResults(results);
if (json !== undefined) writeResults(json, results);
const short = results.filter(({ met }) => met === false);
if (short.length > 0) {
  printLine(`Not met: ${short.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}

function parseNames(text: string): string[] {
  const names = text.split(',');
  const unknown = names.find((name) => BENCHES[name] === undefined);
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(`Expected some of ${Object.keys(BENCHES).join(',')}, got "${unknown}"`);
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
