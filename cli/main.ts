#!/usr/bin/env -S node --disable-warning=TimeoutNegativeWarning
import { Command, CommanderError } from 'commander';
import { readEnvironment } from '../common/config/environment.ts';
import { describeMisspelt, misspeltSettings } from '../common/config/misspelt-settings.ts';
import { errorMessage } from '../common/errors.ts';
import { isAway } from '../common/postgres/postgres.ts';
import { readVersion } from '../common/version.ts';
import { ad } from './commands/ad.ts';
import { advertiser } from './commands/advertiser.ts';
import { campaign } from './commands/campaign.ts';
import { click } from './commands/click.ts';
import { deadLetters } from './commands/dead-letters.ts';
import { exportCommand } from './commands/export.ts';
import { failedBatches } from './commands/failed-batches.ts';
import { link } from './commands/link.ts';
import { maintain } from './commands/maintain.ts';
import { reconcile } from './commands/reconcile.ts';
import { rewind } from './commands/rewind.ts';
import { samples } from './commands/samples.ts';
import { spool } from './commands/spool.ts';
import { status } from './commands/status.ts';
import { topics } from './commands/topics.ts';
import { escapeUsageErrors } from './context.ts';
import { printNote } from './print.ts';

const program = new Command('tollway')
  .description('Open-road tolling for ad clicks: redirect at once, charge exactly once.')
  .version(readVersion(), '--version', 'print the version')
  .hook('preAction', () => {
    for (const misspelt of misspeltSettings(readEnvironment())) printNote(describeMisspelt(misspelt));
  })
  .showHelpAfterError('(add --help for the form and examples)')
  .addHelpText(
    'after',
    `
Examples:
  npx tollway link 1                 a signed link to ad 1
  npx tollway advertiser list        what is left of the budgets
  npx tollway reconcile --settled    do the books balance?

Works on the stack that npm start runs on DATA_DIR, or on DATABASE_URL.
`,
  );
for (const child of [
  status,
  advertiser,
  campaign,
  ad,
  link,
  click,
  reconcile,
  exportCommand,
  deadLetters,
  failedBatches,
  rewind,
  maintain,
  spool,
  topics,
  samples,
]) {
  program.addCommand(child);
}

escapeUsageErrors(program);

// A reader that has seen enough, such as `head`, is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) {
    const away = isAway(error) ? 'The database does not answer: ' : '';
    printNote(`${away}${errorMessage(error)}`);
  }
  process.exitCode = 1;
}
