import { TollwayError } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import { creditClick } from '../../ledger/budget-entries.ts';
import { type FoundClick, findClick } from '../../ledger/find-click.ts';
import { command, group, withDatabase } from '../context.ts';
import { parseClickId } from '../parse.ts';
import { printJson, printLine } from '../print.ts';

function toRow(click: FoundClick) {
  return {
    clickId: click.clickId,
    outcome: click.outcome,
    reason: click.reason,
    charged: formatAmount(click.chargedMicros),
    credited: formatAmount(click.creditedMicros),
    currency: click.currency,
    advertiserId: click.advertiserId,
    campaignId: click.campaignId,
    adId: click.adId,
    clickedAt: click.clickedAt?.toISOString() ?? null,
    settledAt: click.settledAt.toISOString(),
  };
}

const show = command('show', 'Show the outcome of a click: whether it was charged, and why not', [
  'click show 01a208fb-f934-70de-beaa-9335acbb4502',
])
  .argument('<click id>', 'id of the click, as in the header Tollway-Click', parseClickId)
  .action(async (clickId: string, { json }: { json?: boolean }) => {
    await withDatabase(async (pool) => {
      const found = await findClick(pool, clickId);
      if (found === null) {
        const message = `The ledger has no click ${clickId}. If it was made a moment ago, it may not be settled yet: try again in a few seconds`;
        throw new TollwayError('unknown_click', message);
      }
      const row = toRow(found);
      if (json) return printJson(row);
      for (const [name, value] of Object.entries(row))
        printLine(`${name.padEnd(12)} ${value ?? ''}`.trimEnd());
    });
  });

const credit = command('credit', 'Credit the charge of a click to its advertiser, once', [
  'click credit 01a208fb-f934-70de-beaa-9335acbb4502',
])
  .argument('<click id>', 'id of the click, as in the header Tollway-Click', parseClickId)
  .action(async (clickId: string, { json }: { json?: boolean }) => {
    await withDatabase(async (pool) => {
      const { advertiser, entered, amountMicros } = await creditClick(pool, clickId);
      const amount = formatAmount(amountMicros);
      const remaining = formatAmount(advertiser.remainingMicros);
      if (json) printJson({ clickId, advertiserId: advertiser.id, amount, entered, remaining });
      else if (entered)
        printLine(
          `Credited ${amount} ${advertiser.currency} to ${advertiser.name}, which has ${remaining} left`,
        );
      else printLine('This click was credited before: nothing was added');
    });
  });

export const click = group('click', 'Show and correct single clicks', [show, credit]);
