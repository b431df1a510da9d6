import type * as z from 'zod';
import { csvLine } from '../../../../common/csv.ts';
import type { Statement } from '../../../api/routes/statements.ts';

/** The statement of a month, as the API has it. */
export type StatementData = z.input<typeof Statement>;

const HEADER = [
  'section',
  'at',
  'kind',
  'campaignId',
  'campaign',
  'adId',
  'ad',
  'month',
  'reason',
  'reference',
  'clicks',
  'amount',
  'currency',
];

/** A statement as CSV: a line for each balance, entry, charge, credit and reason, by `section`. */
export function statementCsv(statement: StatementData): string {
  const { currency, opening, closing, entries, charges, credits, gross, invalid, net } = statement;
  const line = (values: Readonly<Record<string, string | number>>) =>
    csvLine(HEADER.map((name) => values[name] ?? null));
  return [
    csvLine(HEADER),
    line({ section: 'opening', amount: opening, currency }),
    ...entries.map((entry) => line({ section: 'entry', ...entry, currency })),
    ...charges.map(({ campaignName: campaign, adName, ...charge }) =>
      line({ section: 'charge', campaign, ad: adName ?? '', ...charge, currency }),
    ),
    ...credits.map((credit) => line({ section: 'credit', ...credit, currency })),
    line({ section: 'closing', amount: closing, currency }),
    line({ section: 'gross', clicks: gross }),
    ...invalid.map((one) => line({ section: 'invalid', ...one })),
    line({ section: 'net', clicks: net }),
  ]
    .map((text) => `${text}\r\n`)
    .join('');
}
