import { Command, CommanderError } from 'commander';
import { printJson, printNote } from '../../cli/print.ts';
import { errorMessage } from '../../common/errors.ts';
import { startKafka } from '../../emulators/kafka/start.ts';
import { EXIT_CODES, interruptions } from '../arguments.ts';
import { createProgress } from '../progress-display.ts';
import { printDrill } from './print-drill.ts';
import { forgottenAlerts, readRules, runDrill } from './run-drill.ts';
import { alertsIn } from './shorten-rules.ts';

const program = new Command('drill')
  .exitOverride()
  .description(
    'Causes every alert for real: starts a stack and a Prometheus of its own in a temporary folder, with shortened rules, and checks that each alert fires and ends',
  )
  .option('--only <alerts>', 'names of alerts, separated by commas', (text: string) => text.split(','), [])
  .option('--json', 'print JSON for scripts')
  .addHelpText(
    'after',
    `
Needs the program prometheus in the PATH, and Docker, or Java and Maven, for the alerts
TollwayRecordsLost and TollwayCheckpointsStuck. Takes about fifteen minutes; with --only less.

Examples:
  npm run drill
  npm run drill -- --only TollwayPartDown,TollwayDeadLetters

Exit codes:
  0  each alert fired and ended
  1  an alert did not fire or did not end
  2  not measured: the stack or Prometheus did not start
`,
  );

/** With properties, `startKafka` starts a server also if `KAFKA_BROKERS` names one, which may be in use. */
const startOwnKafka = () => startKafka({ properties: {} });

try {
  const { only, json } = program.parse().opts<{ only: string[]; json?: true }>();
  const known = alertsIn(readRules()).map(({ alert }) => alert);
  const unknown = only.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`--only: expected names of alerts, got ${unknown.join(', ')}`);
  const progress = createProgress(process.stderr);
  const results = await runDrill(only, {
    progress,
    stop: interruptions().stopLoad,
    startKafka: startOwnKafka,
  });
  const forgotten = only.length === 0 ? forgottenAlerts() : [];
  if (json) printJson({ results });
  else printDrill(results);
  if (forgotten.length > 0) printNote(`No drill causes ${forgotten.join(', ')}`);
  const isGood =
    results.length > 0 && results.every(({ problem }) => problem === null) && forgotten.length === 0;
  process.exitCode = isGood ? EXIT_CODES.passed : EXIT_CODES.failed;
} catch (error) {
  if (!(error instanceof CommanderError)) printNote(`Not measured: ${errorMessage(error)}`);
  const isHelp = error instanceof CommanderError && error.exitCode === 0;
  process.exitCode = isHelp ? 0 : EXIT_CODES.not_measured;
}
