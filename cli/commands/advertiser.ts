import { TollwayError } from '../../common/errors.ts';
import { formatAmount, parseAmount, parseCurrency, parsePositiveAmount } from '../../common/money.ts';
import { parseName, parseReference } from '../../common/text.ts';
import { parseTimeZone } from '../../common/time-zone.ts';
import { uuidV7 } from '../../common/uuid.ts';
import {
  type Advertiser,
  addAdvertiser,
  listAdvertisers,
  renameAdvertiser,
  setAdvertiserStatus,
  setLowBudget,
} from '../../ledger/accounts/advertisers.ts';
import {
  addBudgetEntry,
  type BudgetEntry,
  type BudgetEntryKind,
  listBudgetEntries,
} from '../../ledger/accounts/budget-entries.ts';
import { parsePercents } from '../../ledger/accounts/low-budget.ts';
import type { Status } from '../../ledger/status.ts';
import { group, type Output, rowsCommand, withChange, withDatabase } from '../context.ts';
import { emptyText, filterOf, type ListOptions, SEARCH, withStatusOptions } from '../list-options.ts';
import { parseId } from '../parse.ts';
import { printLine, printRow } from '../print.ts';
import { beyondId, printPages } from '../print-pages.ts';

type AddOptions = Output & { currency: string; timeZone: string; budget?: bigint };

function toRow({
  id,
  name,
  currency,
  timeZone,
  status,
  budgetMicros,
  spentMicros,
  remainingMicros,
}: Advertiser) {
  return {
    id,
    name,
    currency,
    timeZone,
    status,
    budget: formatAmount(budgetMicros),
    spent: formatAmount(spentMicros),
    remaining: formatAmount(remainingMicros),
  };
}

/** The row with the settings that the table of all advertisers has no space for. */
function toFullRow(advertiser: Advertiser) {
  return { ...toRow(advertiser), lowBudget: advertiser.lowBudgetPercents.join(',') || 'none' };
}

const add = rowsCommand('add', 'Add an advertiser', [
  'advertiser add "Blue Shoes" --currency EUR --budget 250.00',
])
  .argument('<name>', 'name of the advertiser, 1–200 characters', parseName)
  .option(
    '--currency <code>',
    'currency of its budget and prices, three letters of ISO 4217',
    parseCurrency,
    'USD',
  )
  .option(
    '--time-zone <name>',
    'time zone of its days in reports and statements, such as Europe/Berlin; it cannot be changed later',
    parseTimeZone,
    'UTC',
  )
  .option('--budget <amount>', 'first top-up of the budget, such as 250.00', parsePositiveAmount)
  .action(async (name: string, { currency, timeZone, budget, format }: AddOptions) => {
    const added = await withChange(async (connection) => {
      const made = await addAdvertiser(connection, name, currency, timeZone);
      return budget
        ? (await addBudgetEntry(connection, made.id, 'top_up', budget, 'first budget')).advertiser
        : made;
    });
    printRow(toRow(added), { format });
  });

const list = withStatusOptions(
  rowsCommand('list', 'List advertisers with their budgets and what is left of them', [
    'advertiser list',
    'advertiser list --status paused --json',
  ]),
)
  .option('--search <text>', SEARCH)
  .action(async (options: ListOptions) => {
    await withDatabase(async (pool) => {
      const filter = filterOf(options);
      const first = 'There are no advertisers: npx tollway advertiser add "Blue Shoes" --budget 250.00';
      await printPages(
        {
          read: beyondId<Advertiser>((page) => listAdvertisers(pool, { ...filter, ...page })),
          toRows: (advertisers) => advertisers.map(toRow),
          toJson: toFullRow,
          empty: emptyText(options, first),
        },
        options,
      );
    });
  });

const rename = rowsCommand('rename', 'Rename an advertiser', ['advertiser rename 1 "Red Shoes"'])
  .argument('<id>', 'id of the advertiser', parseId)
  .argument('<name>', 'new name, 1–200 characters', parseName)
  .action(async (id: number, name: string, output: Output) => {
    printRow(toRow(await withChange((connection) => renameAdvertiser(connection, id, name))), output);
  });

const update = rowsCommand('update', 'Set the thresholds at which budget.low is sent to webhooks', [
  'advertiser update 1 --low-budget 50,10',
  'advertiser update 1 --low-budget none',
])
  .argument('<id>', 'id of the advertiser', parseId)
  .requiredOption(
    '--low-budget <percents>',
    'percentages of what remained after the latest top-up or adjustment, or none; an advertiser begins with 20,5',
    parseLowBudget,
  )
  .action(async (id: number, { lowBudget, format }: Output & { lowBudget: number[] }) => {
    const updated = await withChange((connection) => setLowBudget(connection, id, lowBudget));
    printRow(toFullRow(updated), { format });
  });

function parseLowBudget(text: string): number[] {
  return text === 'none' ? [] : parsePercents(text.split(','));
}

function statusCommand(name: string, status: Status, description: string) {
  return rowsCommand(name, description, [`advertiser ${name} 1`])
    .argument('<id>', 'id of the advertiser', parseId)
    .action(async (id: number, output: Output) => {
      printRow(toRow(await withChange((connection) => setAdvertiserStatus(connection, id, status))), output);
    });
}

function entryCommand(
  name: string,
  kind: BudgetEntryKind,
  parse: (text: string) => bigint,
  description: string,
) {
  const example = kind === 'top_up' ? '100.00' : '-12.50';
  return rowsCommand(name, description, [`advertiser ${name} 1 ${example} --reference invoice-4711`])
    .argument('<id>', 'id of the advertiser', parseId)
    .argument('<amount>', `amount in the currency of the advertiser, such as ${example}`, parse)
    .option(
      '--reference <text>',
      'unique for the advertiser, 1–200 characters; a retry with the same reference changes nothing',
      parseReference,
    )
    .action(async (id: number, amount: bigint, { reference, format }: Output & { reference?: string }) => {
      // Made here, so that the error of a commit without an answer can name it.
      const used = reference ?? uuidV7();
      const { advertiser, entered } = await withChange(
        (connection) => addBudgetEntry(connection, id, kind, amount, used),
        `Repeat the command with ${reference === undefined ? `--reference ${used}` : 'the same --reference'}, which enters the amount once; \`npx tollway advertiser entries ${id}\` shows whether it was entered`,
      );
      if (format !== 'table') return printRow({ ...toRow(advertiser), reference: used, entered }, { format });
      if (!entered) printLine(`Reference "${used}" was used before: nothing was added`);
      printRow(toRow(advertiser), { format });
    });
}

const entries = rowsCommand(
  'entries',
  'List the changes of a budget: top-ups, adjustments and credits of clicks',
  ['advertiser entries 1'],
)
  .argument('<id>', 'id of the advertiser', parseId)
  .action(async (id: number, output: Output) => {
    await withDatabase((pool) =>
      printPages(
        {
          read: beyondId<BudgetEntry>((page) => listBudgetEntries(pool, id, page)),
          toRows: (items) => items.map(toEntryRow),
          empty: `There are no entries yet: npx tollway advertiser top-up ${id} 100.00`,
        },
        output,
      ),
    );
  });

function toEntryRow({ id, createdAt, kind, amountMicros, reference, clickId }: BudgetEntry) {
  return {
    ...{ id: String(id), createdAt: createdAt.toISOString(), kind },
    ...{ amount: formatAmount(amountMicros), reference, clickId },
  };
}

export const advertiser = group('advertiser', 'Manage advertisers and their budgets', [
  add,
  list,
  rename,
  update,
  entries,
  statusCommand(
    'pause',
    'paused',
    'Pause all ads of an advertiser: links still redirect, and clicks are not charged',
  ),
  statusCommand('resume', 'active', 'Resume a paused or archived advertiser: clicks are charged again'),
  statusCommand(
    'archive',
    'archived',
    'Archive an advertiser: as pause, and lists, metrics and alerts leave it out',
  ),
  entryCommand('top-up', 'top_up', parsePositiveAmount, 'Add an amount to the budget of an advertiser'),
  entryCommand('adjust', 'adjustment', parseNonZero, 'Correct the budget of an advertiser up or down'),
]);

function parseNonZero(text: string): bigint {
  const micros = parseAmount(text);
  if (micros === 0n) throw new TollwayError('bad_amount', `Expected an amount other than 0, got "${text}"`);
  return micros;
}
