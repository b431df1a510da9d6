import { Command } from 'commander';
import { readEnvironment } from '../common/config/environment.ts';
import { describeMisspelt, misspeltSettings } from '../common/config/misspelt-settings.ts';
import { readVersion } from '../common/version.ts';
import { escapeUsageErrors } from './context.ts';
import { printNote } from './print.ts';

/** The commands in the order of `--help`, and how each is loaded. */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['status', async () => (await import('./commands/status.ts')).status],
  ['top', async () => (await import('./commands/top.ts')).top],
  ['advertiser', async () => (await import('./commands/advertiser.ts')).advertiser],
  ['campaign', async () => (await import('./commands/campaign.ts')).campaign],
  ['ad', async () => (await import('./commands/ad.ts')).ad],
  ['link', async () => (await import('./commands/link.ts')).link],
  ['click', async () => (await import('./commands/click.ts')).click],
  ['evidence', async () => (await import('./commands/evidence.ts')).evidence],
  ['report', async () => (await import('./commands/report.ts')).report],
  ['statement', async () => (await import('./commands/statement.ts')).statement],
  ['reconcile', async () => (await import('./commands/reconcile.ts')).reconcile],
  ['export', async () => (await import('./commands/export.ts')).exportCommand],
  ['dead-letters', async () => (await import('./commands/dead-letters.ts')).deadLetters],
  ['failed-batches', async () => (await import('./commands/failed-batches.ts')).failedBatches],
  ['rewind', async () => (await import('./commands/rewind.ts')).rewind],
  ['maintain', async () => (await import('./commands/maintain.ts')).maintain],
  ['spool', async () => (await import('./commands/spool.ts')).spool],
  ['topics', async () => (await import('./commands/topics.ts')).topics],
  ['webhook', async () => (await import('./commands/webhook.ts')).webhook],
  ['key', async () => (await import('./commands/key.ts')).key],
  ['login', async () => (await import('./commands/login.ts')).login],
  ['audit', async () => (await import('./commands/audit.ts')).audit],
  ['samples', async () => (await import('./commands/samples.ts')).samples],
]);

const HELP_TAIL = `
Examples:
  npx tollway link 1                 print a signed link to ad 1
  npx tollway advertiser list        list the budgets and what is left of them
  npx tollway reconcile --settled    check that the books balance and no click is in flight

The commands work on the stack that npm start runs in DATA_DIR, or on DATABASE_URL.
`;

/**
 * Loads the program `tollway`. If the first argument is a command, the program has this command only, because it starts faster without the
 * others; else, as for `--help`, it has all. docs/cli.md describes them.
 */
export async function loadProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('tollway')
    .description('Open-road tolling for ad clicks: redirect at once, charge exactly once.')
    .version(readVersion(), '--version', 'print the version')
    .hook('preAction', () => {
      for (const misspelt of misspeltSettings(readEnvironment())) printNote(describeMisspelt(misspelt));
    })
    .showHelpAfterError('(add --help for the form and examples)')
    .addHelpText('after', HELP_TAIL);
  const named = COMMANDS.get(args[0] ?? '');
  for (const load of named ? [named] : COMMANDS.values()) program.addCommand(await load());
  escapeUsageErrors(program);
  return program;
}
