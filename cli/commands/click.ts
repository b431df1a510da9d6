import { formatAmount } from '../../common/money.ts';
import { creditClick } from '../../ledger/budget-entries.ts';
import { command, group, withDatabase } from '../context.ts';
import { parseClickId } from '../parse.ts';
import { printJson, printLine } from '../print.ts';

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

export const click = group('click', 'Correct single clicks', [credit]);
