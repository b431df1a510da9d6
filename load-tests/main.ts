import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { findPlace } from '../cli/command.ts';
import { findLinkKeys } from '../cli/link-key-file.ts';
import { parseDuration } from '../cli/parse.ts';
import { printJson } from '../cli/print.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { isAway } from '../common/postgres.ts';
import { printReport } from './print-report.ts';
import { createProgress } from './progress.ts';
import { runSpike } from './spike.ts';

/** A run that could not be measured says nothing about the target: neither passed (0) nor failed (1). */
const EXIT_CODES = { passed: 0, failed: 1, not_measured: 2 } as const;

type SpikeArguments = { base: number; factor: number; ramp: number; hold: number; wait: number; json?: true };

const spike = new Command('spike')
  .description(
    'Many times the usual clicks within seconds, on the running stack; follows every click to the ledger.',
  )
  .option('--base <clicks>', 'clicks a second before and after', parseRate, 50)
  .option('--factor <times>', 'how many times that at the peak', parseFactor, 10)
  .addOption(time('--ramp <time>', 'time from the base to the peak', 10_000, '10s'))
  .addOption(time('--hold <time>', 'time at the peak', 10_000, '10s'))
  .addOption(time('--wait <time>', 'time for the backlog to drain, then clicks are missing', 60_000, '60s'))
  .option('--json', 'print JSON for scripts')
  .addHelpText(
    'after',
    `
Examples:
  npm run load -- spike
  npm run load -- spike --base 200 --factor 10 --ramp 10s --hold 1m

Exit code: 0 passed; 1 a recorded click is missing or there twice, the books do not balance, or redirects
failed; 2 not measured: there is no running stack, or this machine was too slow to offer the asked rate.
The clicks are charged to advertisers made for the run; they stay in the books, paused.
`,
  )
  .action(async (given: SpikeArguments) => {
    const { config, stack } = findPlace();
    const keys = findLinkKeys(config);
    if (keys === null) {
      const message = `LINK_KEYS: expected the keys of the ad server, got none, and there are none in ${config.DATA_DIR}`;
      throw new TollwayError('no_link_keys', message);
    }
    const { stopLoad, giveUp } = interruptions();
    const options = {
      base: given.base,
      factor: given.factor,
      rampMs: given.ramp,
      holdMs: given.hold,
      waitMs: given.wait,
    };
    const progress = createProgress(process.stderr);
    const report = await runSpike(options, { stack, keys, stopLoad, giveUp, progress });
    if (given.json) printJson(report);
    else printReport(report);
    process.exitCode = EXIT_CODES[report.verdict];
  });

const SAME_SIGNAL_MS = 300;

/** The first Ctrl-C ends the load, the second the waiting for the ledger, the third everything. */
function interruptions(): { stopLoad: AbortSignal; giveUp: AbortSignal } {
  const [stopLoad, giveUp] = [new AbortController(), new AbortController()];
  let heardAt = 0;
  process.on('SIGINT', () => {
    // npm passes a Ctrl-C on to the process that the terminal has told already.
    if (Date.now() - heardAt < SAME_SIGNAL_MS) return;
    heardAt = Date.now();
    if (!stopLoad.signal.aborted) stopLoad.abort();
    else if (!giveUp.signal.aborted) giveUp.abort();
    else process.exit(130);
  });
  return { stopLoad: stopLoad.signal, giveUp: giveUp.signal };
}

function time(flags: string, description: string, defaultMs: number, shown: string): Option {
  return new Option(flags, description).default(defaultMs, shown).argParser(parseTime);
}

function parseRate(text: string): number {
  const rate = /^\d{1,6}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (rate > 0) return rate;
  throw new InvalidArgumentError(`Expected clicks a second above 0, got "${text}"`);
}

function parseFactor(text: string): number {
  const factor = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (factor >= 1) return factor;
  throw new InvalidArgumentError(`Expected a number of 1 or more, got "${text}"`);
}

function parseTime(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(errorMessage(error));
  }
}

const program = new Command('load')
  .description('Load tests of a running Tollway: npm run load -- <scenario>')
  .addCommand(spike)
  .showHelpAfterError('(add --help for the form and examples)')
  .addHelpText('after', '\nExample:\n  npm run load -- spike --base 50 --factor 10 --ramp 10s --hold 10s\n');

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) {
    const away = isAway(error) ? 'the database does not answer: ' : '';
    process.stderr.write(`Not measured: ${away}${errorMessage(error)}\n`);
  }
  process.exitCode = EXIT_CODES.not_measured;
}
