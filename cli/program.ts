import { Command } from 'commander';
import { readEnvironment } from '../common/config/environment.ts';
import { describeMisspelt, misspeltSettings } from '../common/config/misspelt-settings.ts';
import { readVersion } from '../common/version.ts';
import { ad } from './commands/ad.ts';
import { advertiser } from './commands/advertiser.ts';
import { campaign } from './commands/campaign.ts';
import { click } from './commands/click.ts';
import { deadLetters } from './commands/dead-letters.ts';
import { evidence } from './commands/evidence.ts';
import { exportCommand } from './commands/export.ts';
import { failedBatches } from './commands/failed-batches.ts';
import { link } from './commands/link.ts';
import { maintain } from './commands/maintain.ts';
import { reconcile } from './commands/reconcile.ts';
import { report } from './commands/report.ts';
import { rewind } from './commands/rewind.ts';
import { samples } from './commands/samples.ts';
import { spool } from './commands/spool.ts';
import { statement } from './commands/statement.ts';
import { status } from './commands/status.ts';
import { topics } from './commands/topics.ts';
import { escapeUsageErrors } from './context.ts';
import { printNote } from './print.ts';

const COMMANDS = [
  status,
  advertiser,
  campaign,
  ad,
  link,
  click,
  evidence,
  report,
  statement,
  reconcile,
  exportCommand,
  deadLetters,
  failedBatches,
  rewind,
  maintain,
  spool,
  topics,
  samples,
];

const HELP_TAIL = `
Examples:
  npx tollway link 1                 print a signed link to ad 1
  npx tollway advertiser list        list the budgets and what is left of them
  npx tollway reconcile --settled    check that the books balance and no click is in flight

The commands work on the stack that npm start runs in DATA_DIR, or on DATABASE_URL.
`;

/** The program `tollway` with all its commands. docs/cli.md describes it. */
export const program = new Command('tollway')
  .description('Open-road tolling for ad clicks: redirect at once, charge exactly once.')
  .version(readVersion(), '--version', 'print the version')
  .hook('preAction', () => {
    for (const misspelt of misspeltSettings(readEnvironment())) printNote(describeMisspelt(misspelt));
  })
  .showHelpAfterError('(add --help for the form and examples)')
  .addHelpText('after', HELP_TAIL);
for (const child of COMMANDS) program.addCommand(child);
escapeUsageErrors(program);
