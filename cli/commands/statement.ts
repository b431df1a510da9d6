import { formatAmount } from '../../common/money.ts';
import { printable } from '../../common/text.ts';
import { parseMonth, readStatement, type Statement } from '../../ledger/accounts/statement.ts';
import { statementJson } from '../../ledger/output-json.ts';
import { type Output, rowsCommand, withDatabase } from '../context.ts';
import { parseId } from '../parse.ts';
import { printCsv, printJson, printLine, printNote, printTable } from '../print.ts';
import { updateSums } from '../update-sums.ts';

type Options = Output & { month: string };

export const statement = rowsCommand(
  'statement',
  'Show the statement of an advertiser for a month: opening balance, top-ups, charges, credits, closing balance, and its clicks',
  ['statement 1 --month 2026-11', 'statement 1 --month 2026-11 --format csv > november.csv'],
)
  .argument('<advertiser>', 'id of the advertiser', parseId)
  .requiredOption('--month <month>', 'month in the time zone of the advertiser, such as 2026-11', parseMonth)
  .action(async (advertiserId: number, { month, format }: Options) => {
    await withDatabase(async (pool) => {
      await updateSums(pool);
      const found = await readStatement(pool, advertiserId, month);
      if (format === 'json') return printJson(statementJson(found));
      if (format === 'csv') return printStatementCsv(found);
      printStatement(found);
    });
  });

/** A line of a statement. Amounts have their sign: all lines above the closing balance add up to it. */
type Line = {
  readonly item: string;
  readonly at?: Date;
  readonly reference?: string;
  readonly campaignId?: number;
  readonly campaign?: string;
  readonly adId?: number;
  /** `null`: the ad has no name. */
  readonly ad?: string | null;
  /** Of a credit: the month of its clicks. */
  readonly clickMonth?: string;
  /** Of invalid clicks. */
  readonly reason?: string;
  readonly clicks?: bigint;
  readonly micros?: bigint;
};

function moneyLines({ openingMicros, entries, charges, credits, closingMicros }: Statement): Line[] {
  return [
    { item: 'opening', micros: openingMicros },
    ...entries.map(({ at, kind, reference, amountMicros }) => ({
      item: kind,
      at,
      reference,
      micros: amountMicros,
    })),
    ...charges.map(({ campaignId, campaignName, adId, adName, clicks, amountMicros }) => ({
      item: 'charge',
      campaignId,
      campaign: campaignName,
      adId,
      ad: adName,
      clicks,
      micros: -amountMicros,
    })),
    ...credits.map(({ month, clicks, amountMicros }) => ({
      item: 'credit',
      clickMonth: month,
      clicks,
      micros: amountMicros,
    })),
    { item: 'closing', micros: closingMicros },
  ];
}

function clickLines({ gross, invalid, net }: Statement): Line[] {
  return [
    { item: 'gross', clicks: gross },
    ...invalid.map(({ reason, clicks }) => ({ item: 'invalid', reason, clicks })),
    { item: 'net', clicks: net },
  ];
}

const CSV_COLUMNS = [
  'month',
  'advertiserId',
  'advertiser',
  'item',
  'date',
  'reference',
  'campaignId',
  'campaign',
  'adId',
  'ad',
  'clickMonth',
  'reason',
  'clicks',
  'amount',
  'currency',
];

function printStatementCsv(found: Statement): void {
  const { month, advertiserId, advertiserName, timeZone, currency } = found;
  printNote(completeness(found));
  const dayOf = dayFormat(timeZone);
  const lines = [...moneyLines(found), ...clickLines(found)].map((line) => [
    month,
    advertiserId,
    advertiserName,
    line.item,
    line.at ? dayOf(line.at) : null,
    line.reference ?? null,
    line.campaignId ?? null,
    line.campaign ?? null,
    line.adId ?? null,
    line.ad ?? null,
    line.clickMonth ?? null,
    line.reason ?? null,
    line.clicks ?? null,
    line.micros === undefined ? null : formatAmount(line.micros),
    line.micros === undefined ? null : currency,
  ]);
  printCsv(CSV_COLUMNS, lines);
}

function completeness({ asOf, timeZone }: Statement): string {
  return `Complete for everything that was settled or entered before ${asOf.toISOString()}. Time zone: ${timeZone}`;
}

const ITEM_TEXT: Readonly<Record<string, string>> = {
  opening: 'Opening balance',
  top_up: 'Top-up',
  adjustment: 'Adjustment',
  charge: 'Charged clicks',
  credit: 'Credits for clicks',
  closing: 'Closing balance',
  gross: 'Gross clicks',
  invalid: 'Invalid clicks',
  net: 'Net clicks',
};

function printStatement(found: Statement): void {
  const { advertiserName, advertiserId, month, timeZone, currency } = found;
  printLine(`Statement of ${printable(advertiserName)} (advertiser ${advertiserId}) for ${month}`);
  printLine(completeness(found));
  printLine('');
  const dayOf = dayFormat(timeZone);
  printTable(
    moneyLines(found).map((line) => ({
      item: ITEM_TEXT[line.item] ?? line.item,
      date: line.at ? dayOf(line.at) : '',
      details: detailsOf(line),
      clicks: line.clicks === undefined ? '' : String(line.clicks),
      [`amount (${currency})`]: formatAmount(line.micros ?? 0n),
    })),
    '',
  );
  printLine('');
  printTable(
    clickLines(found).map((line) => ({
      item: ITEM_TEXT[line.item] ?? line.item,
      reason: line.reason ?? '',
      clicks: String(line.clicks),
    })),
    '',
  );
}

function detailsOf({ reference, campaign, campaignId, ad, adId, clickMonth }: Line): string {
  const adText = ad ? `${ad} (ad ${adId})` : `ad ${adId}`;
  if (campaign !== undefined) return `${campaign} (campaign ${campaignId}), ${adText}`;
  return clickMonth ?? reference ?? '';
}

/** Formats the day of a time in a time zone, such as `2026-11-30`. */
function dayFormat(timeZone: string): (time: Date) => string {
  const format = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  });
  return (time) => format.format(time);
}
