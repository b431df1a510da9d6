import { TollwayError } from '../../common/errors.ts';
import { formatAmount, parseAmount, parseCurrency, parsePositiveAmount } from '../../common/money.ts';
import { parseName, parseReference } from '../../common/text.ts';
import {
  type Advertiser,
  addAdvertiser,
  listAdvertisers,
  type Status,
  setAdvertiserStatus,
} from '../../ledger/advertisers.ts';
import { addBudgetEntry, type BudgetEntryKind, listBudgetEntries } from '../../ledger/budget-entries.ts';
import { command, group, withDatabase } from '../context.ts';
import { parseId } from '../parse.ts';
import { printJson, printLine, printTable } from '../print.ts';

type Json = { json?: boolean };

function toRow({ id, name, currency, status, budgetMicros, spentMicros, remainingMicros }: Advertiser) {
  return {
    id,
    name,
    currency,
    status,
    budget: formatAmount(budgetMicros),
    spent: formatAmount(spentMicros),
    remaining: formatAmount(remainingMicros),
  };
}

function show(advertiser: Advertiser, json: boolean | undefined): void {
  if (json) printJson(toRow(advertiser));
  else printTable([toRow(advertiser)], '');
}

const add = command('add', 'Make an advertiser', [
  'advertiser add "Blue Shoes" --currency EUR --budget 250.00',
])
  .argument('<name>', 'its name', parseName)
  .option('--currency <code>', 'three letters', parseCurrency, 'USD')
  .option('--budget <amount>', 'first budget, such as 250.00', parsePositiveAmount)
  .action(async (name: string, { currency, budget, json }: Json & { currency: string; budget?: bigint }) => {
    await withDatabase(async (pool) => {
      const made = await addAdvertiser(pool, name, currency);
      const filled = budget
        ? (await addBudgetEntry(pool, made.id, 'top_up', budget, 'first budget')).advertiser
        : made;
      show(filled, json);
    });
  });

const list = command('list', 'Advertisers and what is left of their budgets', [
  'advertiser list',
  'advertiser list --json',
]).action(async ({ json }: Json) => {
  await withDatabase(async (pool) => {
    const rows = (await listAdvertisers(pool)).map(toRow);
    if (json) printJson(rows);
    else
      printTable(
        rows,
        'There are no advertisers yet: npx tollway advertiser add "Blue Shoes" --budget 250.00',
      );
  });
});

function statusCommand(name: string, status: Status, description: string) {
  return command(name, description, [`advertiser ${name} 1`])
    .argument('<id>', 'the advertiser', parseId)
    .action(async (id: number, { json }: Json) => {
      await withDatabase(async (pool) => show(await setAdvertiserStatus(pool, id, status), json));
    });
}

function entryCommand(
  name: string,
  kind: BudgetEntryKind,
  parse: (text: string) => bigint,
  description: string,
) {
  return command(name, description, [
    `advertiser ${name} 1 ${kind === 'top_up' ? '100.00' : '-12.50'} --reference invoice-4711`,
  ])
    .argument('<id>', 'the advertiser', parseId)
    .argument('<amount>', 'in units of its currency, such as 12.50', parse)
    .option(
      '--reference <text>',
      'unique per advertiser; a retry with the same reference adds nothing',
      parseReference,
    )
    .action(async (id: number, amount: bigint, { reference, json }: Json & { reference?: string }) => {
      await withDatabase(async (pool) => {
        const {
          advertiser,
          entered,
          reference: used,
        } = await addBudgetEntry(pool, id, kind, amount, reference);
        if (json) return printJson({ ...toRow(advertiser), reference: used, entered });
        if (!entered) printLine(`Reference "${used}" was used before: nothing was added`);
        show(advertiser, false);
      });
    });
}

const entries = command('entries', 'The changes of a budget: top-ups, adjustments, credits of clicks', [
  'advertiser entries 1',
])
  .argument('<id>', 'the advertiser', parseId)
  .action(async (id: number, { json }: Json) => {
    await withDatabase(async (pool) => {
      const rows = (await listBudgetEntries(pool, id)).map((entry) => ({
        id: String(entry.id),
        createdAt: entry.createdAt.toISOString(),
        kind: entry.kind,
        amount: formatAmount(entry.amountMicros),
        reference: entry.reference,
        clickId: entry.clickId,
      }));
      if (json) printJson(rows);
      else printTable(rows, `There are no entries yet: npx tollway advertiser top-up ${id} 100.00`);
    });
  });

export const advertiser = group('advertiser', 'Who pays', [
  add,
  list,
  entries,
  statusCommand('pause', 'paused', 'Pause all ads of an advertiser: clicks redirect and cost nothing'),
  statusCommand('resume', 'active', 'Let the ads of an advertiser be paid for again'),
  entryCommand('top-up', 'top_up', parsePositiveAmount, 'Add to a budget'),
  entryCommand('adjust', 'adjustment', parseNonZero, 'Correct a budget, up or down'),
]);

function parseNonZero(text: string): bigint {
  const micros = parseAmount(text);
  if (micros === 0n) throw new TollwayError('bad_amount', `Expected an amount other than 0, got "${text}"`);
  return micros;
}
