import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { escapeUsageErrors, findPlace } from '../cli/context.ts';
import { findLinkKeys } from '../cli/link-key-file.ts';
import { printJson, printNote } from '../cli/print.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { isAway } from '../common/postgres/postgres.ts';
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
import { runScenario } from './load/run-scenario.ts';
import { SCENARIOS, type Scenario } from './load/scenarios.ts';
import { createProgress } from './progress.ts';
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
    .description(`${scenario.question}. Follows every click to the ledger, and asks the books.`)
    .option('--base <clicks>', 'clicks a second before and after', parseRate, base)
    .option('--factor <times>', 'how many times that at the peak', parseFactor, factor)
    .addOption(time('--ramp <time>', 'time from the base to the peak', rampMs))
    .addOption(time('--hold <time>', 'time at the peak', holdMs))
    .addOption(time('--wait <time>', 'time for the backlog to drain, then clicks are missing', 60_000))
    .option('--target <url>', 'where the clicks go, if not to the running stack itself', parseUrl)
    .option('--advertisers <count>', 'advertisers that are clicked on', parseNumber, 20)
    .option('--ads <count>', 'their ads', parseNumber, 200)
    .option(
      '--skew <exponent>',
      "how much the first ads are preferred (Zipf's exponent; 0: not at all)",
      parseSkew,
      1,
    )
    .addOption(share('--evergreen <share>', 'arrivals by evergreen links', 0.2))
    .addOption(share('--repeats <share>', 'arrivals by a link that was just clicked', 0.03))
    .addOption(share('--robots <share>', 'arrivals of programs', 0.05))
    .addOption(share('--prefetches <share>', 'browsers that fetch ahead: to be turned away', 0.02))
    .addOption(share('--forged <share>', 'links with a wrong tag: to be turned away', 0.01))
    .addOption(share('--new-connections <share>', 'arrivals on a connection of their own', 0.1))
    .option('--seed <number>', 'another sequence of ads and kinds', parseNumber, 1)
    .option('--level <level>', 'a service level, such as "p99<=25ms"; as often as wanted', collectLevel, [])
    .option('--levels <file>', 'a file of service levels, one a line', readServiceLevels)
    .option('--report <file>', 'where the HTML report is written (default: load-<scenario>.html in DATA_DIR)')
    .option('--no-report', 'no HTML report')
    .option('--json', 'print JSON for scripts')
    .addHelpText('after', helpOf(scenario))
    .action((given: Arguments) => run(scenario, given));
  if (scenario.injectsFaults)
    command.option(
      '--restart-broker <command>',
      'how the broker is restarted, if it is not that of npm start',
    );
  return command;
}

async function run(scenario: Scenario, given: Arguments): Promise<void> {
  const { config, stack } = findPlace();
  const keys = findLinkKeys(config);
  if (keys === null) {
    const message = `LINK_KEYS: expected the keys of the ad server, got none, and there are none in ${config.DATA_DIR}`;
    throw new TollwayError('no_link_keys', message);
  }
  const { stopLoad, giveUp } = interruptions();
  const { evergreen, repeats: repeat, robots: robot, prefetches: prefetch, forged, newConnections } = given;
  if (evergreen + repeat + robot + prefetch + forged > 1)
    throw new TollwayError('bad_shares', 'Expected shares of 100 % at most together, got more');
  const options = {
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
  const progress = createProgress(process.stderr);
  const { report, result } = await runScenario(scenario, options, {
    stack,
    keys,
    stopLoad,
    giveUp,
    progress,
  });
  if (given.report !== false) {
    const path = given.report ?? join(config.DATA_DIR, `load-${scenario.name}.html`);
    writeHtmlReport(path, report, result);
    progress.say(`Report: ${path}`);
  }
  if (given.json) printJson(report);
  else printReport(report);
  process.exitCode = EXIT_CODES[report.verdict];
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

Exit code: 0 passed; 1 a recorded click is missing or there twice, the books do not balance, redirects failed, or a
service level was not met; 2 not measured: there is no running stack, this machine was too slow to offer the asked
rate, or what the scenario is about did not happen. The clicks are charged to advertisers made for the run; they stay in the books, paused.
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
    const away = isAway(error) ? 'the database does not answer: ' : '';
    printNote(`Not measured: ${away}${errorMessage(error)}`);
  }
  const isHelp = error instanceof CommanderError && error.exitCode === 0;
  process.exitCode = isHelp ? 0 : EXIT_CODES.not_measured;
}
