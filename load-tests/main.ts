import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { escapeUsageErrors, findContext } from '../cli/context.ts';
import { printJson, printNote } from '../cli/print.ts';
import { findLinkKeys } from '../common/config/link-key-file.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { isDatabaseUnavailable } from '../common/postgres/postgres.ts';
import {
  EXIT_CODES,
  interruptions,
  invalidOr,
  parseFactor,
  parseNumber,
  parseRate,
  parseSkew,
  parseUrl,
  share,
  time,
} from './arguments.ts';
import { type RunOptions, runScenario } from './load/run-scenario.ts';
import { SCENARIOS, type Scenario } from './load/scenarios.ts';
import { createProgress } from './progress-display.ts';
import { replayCommand } from './replay/replay-command.ts';
import { writeHtmlReport } from './report/html-report.ts';
import { printReport } from './report/print-report.ts';
import {
  MEASURES,
  parseServiceLevel,
  readServiceLevels,
  type ServiceLevel,
} from './report/service-levels.ts';

type Arguments = {
  base: number;
  factor: number;
  ramp: number;
  hold: number;
  wait: number;
  target?: string;
  advertisers: number;
  ads: number;
  skew: number;
  seed: number;
  evergreen: number;
  repeats: number;
  robots: number;
  prefetches: number;
  forged: number;
  newConnections: number;
  level: ServiceLevel[];
  levels?: ServiceLevel[];
  report?: string | false;
  restartBroker?: string;
  json?: true;
};

function commandOf(scenario: Scenario): Command {
  const { base, factor, rampMs, holdMs } = scenario.defaults;
  const command = new Command(scenario.name)
    .exitOverride()
    .description(`${scenario.description}. Looks up every click in the ledger and reconciles the books.`)
    .option('--base <clicks>', 'clicks per second before and after the peak', parseRate, base)
    .option('--factor <times>', 'rate at the peak, as a multiple of the base', parseFactor, factor)
    .addOption(time('--ramp <time>', 'time from the base to the peak', rampMs))
    .addOption(time('--hold <time>', 'time at the peak', holdMs))
    .addOption(time('--wait <time>', 'time for the backlog to drain before clicks count as missing', 60_000))
    .option('--target <url>', 'ad server to load (default: that of the running stack)', parseUrl)
    .option('--advertisers <count>', 'number of advertisers', parseNumber, 20)
    .option('--ads <count>', 'number of ads', parseNumber, 200)
    .option('--skew <exponent>', "exponent of Zipf's law for clicks by ad; 0 is uniform", parseSkew, 1);
  addTrafficOptions(command)
    .addOption(
      new Option('--level <level>', 'service level, such as "p99<=25ms"; can be repeated')
        .argParser(collectLevel)
        .default([], 'none'),
    )
    .option('--levels <file>', 'file of service levels, one per line', readServiceLevels)
    .option('--report <file>', 'path of the HTML report (default: load-<scenario>.html in DATA_DIR)')
    .option('--no-report', 'no HTML report')
    .option('--json', 'print JSON for scripts')
    .addHelpText('after', helpOf(scenario))
    .action((given: Arguments) => run(scenario, given));
  if (scenario.injectsFaults)
    command.option(
      '--restart-broker <command>',
      'shell command that restarts the broker (default: npm start restarts its PostgreSQL)',
    );
  return command;
}

function addTrafficOptions(command: Command): Command {
  return command
    .addOption(share('--evergreen <share>', 'clicks on evergreen links', 0.2))
    .addOption(share('--repeats <share>', 'clicks on links that were clicked before', 0.03))
    .addOption(share('--robots <share>', 'requests of bots', 0.05))
    .addOption(share('--prefetches <share>', 'prefetches of browsers, which must be refused', 0.02))
    .addOption(share('--forged <share>', 'links with a wrong tag, which must be refused', 0.01))
    .addOption(share('--new-connections <share>', 'arrivals that open a new connection', 0.1))
    .option('--seed <number>', 'seed of the sequence of ads and kinds', parseNumber, 1);
}

async function run(scenario: Scenario, given: Arguments): Promise<void> {
  const { config, stack } = findContext();
  const keys = findLinkKeys(config);
  if (keys === null) {
    const message = `LINK_KEYS: expected the keys of the ad server, got none; ${config.DATA_DIR} has none either`;
    throw new TollwayError('no_link_keys', message);
  }
  const progress = createProgress(process.stderr);
  const context = { stack, keys, ...interruptions(), progress };
  const { report, result } = await runScenario(scenario, optionsOf(given), context);
  if (given.report !== false) {
    const path = given.report ?? join(config.DATA_DIR, `load-${scenario.name}.html`);
    writeHtmlReport(path, report, result);
    progress.say(`Report: ${path}`);
  }
  if (given.json) printJson(report);
  else printReport(report);
  process.exitCode = EXIT_CODES[report.verdict];
}

function optionsOf(given: Arguments): RunOptions {
  const { evergreen, repeats: repeat, robots: robot, prefetches: prefetch, forged, newConnections } = given;
  const sum = evergreen + repeat + robot + prefetch + forged;
  if (sum > 1) {
    const message = `Expected a sum of at most 100 % for the shares of kinds, got ${Math.round(sum * 100)} %`;
    throw new TollwayError('bad_shares', message);
  }
  return {
    base: given.base,
    factor: given.factor,
    rampMs: given.ramp,
    holdMs: given.hold,
    waitMs: given.wait,
    levels: [...(given.levels ?? []), ...given.level],
    population: {
      advertisers: given.advertisers,
      ads: Math.max(given.ads, given.advertisers),
      skew: given.skew,
      seed: given.seed,
      shares: { evergreen, repeat, robot, prefetch, forged, newConnections },
    },
    ...(given.target === undefined ? {} : { target: given.target }),
    ...(given.restartBroker === undefined ? {} : { restartBroker: given.restartBroker }),
  };
}

function helpOf({ name }: Scenario): string {
  const measures = Object.entries(MEASURES).map(
    ([measure, { unit, meaning }]) => `  ${`${measure}<=…${unit}`.padEnd(20)} ${meaning}`,
  );
  return `
Service levels:
${measures.join('\n')}

Examples:
  npm run load -- ${name}
  npm run load -- ${name} --base 1000 --hold 2m --level 'p99<=25ms' --level 'drain<=30s'

Exit codes:
  0  passed
  1  a recorded click is missing or has the id of another click, the books do not balance, redirects failed, or a service
     level was not met
  2  not measured: no running stack, this machine was too slow for the target rate, or a condition of the scenario was not
     met (a fault was not injected, a budget was not exhausted)

The clicks are charged to advertisers that are created for the run and archived afterwards. Lists, metrics and alerts leave them
out; they stay in the books. A run that is killed leaves them active: the next one archives them.
`;
}

function collectLevel(text: string, before: ServiceLevel[]): ServiceLevel[] {
  return [...before, invalidOr(() => parseServiceLevel(text))];
}

const program = new Command('load')
  .exitOverride()
  .description('Load tests of a running Tollway: npm run load -- <scenario>, or a replay')
  .showHelpAfterError('(add --help for the form and examples)')
  .addHelpText('after', '\nExample:\n  npm run load -- spike --base 50 --factor 10 --ramp 10s --hold 10s\n');
for (const scenario of Object.values(SCENARIOS)) program.addCommand(commandOf(scenario));
program.addCommand(replayCommand());
escapeUsageErrors(program);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) {
    const cause = isDatabaseUnavailable(error) ? 'the database does not answer: ' : '';
    printNote(`Not measured: ${cause}${errorMessage(error)}`);
  }
  const isHelp = error instanceof CommanderError && error.exitCode === 0;
  process.exitCode = isHelp ? 0 : EXIT_CODES.not_measured;
}
