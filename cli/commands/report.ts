import type { Pool } from '../../common/postgres/postgres.ts';
import { parseTimeZone } from '../../common/time-zone.ts';
import { parsePublisher } from '../../contract/publisher.ts';
import { type Names, readNames } from '../../ledger/names.ts';
import { reportJson, reportRowJson } from '../../ledger/output-json.ts';
import {
  keyNamesOf,
  parseReportKeys,
  parseReportTime,
  QUARTER_MS,
  REPORT_KEYS,
  type Report,
  type ReportKey,
  readReport,
} from '../../ledger/reports/report.ts';
import { type Output, rowsCommand, withDatabase } from '../context.ts';
import { parseId } from '../parse.ts';
import { type Format, printCsv, printJson, printNote, printTable } from '../print.ts';
import { updateSums } from '../update-sums.ts';

type Options = Output & {
  since: Date | string;
  until?: Date | string;
  by: readonly ReportKey[];
  advertiser?: number;
  campaign?: number;
  ad?: number;
  publisher?: string;
  timeZone?: string;
};

const DEFAULT_KEYS: readonly ReportKey[] = ['day'];

export const report = rowsCommand(
  'report',
  'Sum the clicks and charges of a period by day, campaign, ad and more',
  [
    'report --since 7d',
    'report --since 2026-11-01 --until 2026-12-01 --by day,campaign,outcome --advertiser 1',
    'report --since 30d --by publisher,ad --campaign 1',
    'report --since 2026-11-01 --by ad --time-zone Europe/Berlin --format csv > november.csv',
  ],
)
  .requiredOption(
    '--since <time>',
    'beginning of the period: a day, a quarter of an hour such as 2026-01-31T12:15:00Z, or a length of time ago',
    parseReportTime,
  )
  .option('--until <time>', 'end of the period, exclusive (default: now)', parseReportTime)
  .option('--by <keys>', `some of ${REPORT_KEYS.join(', ')}`, parseReportKeys, [...DEFAULT_KEYS])
  .option('--advertiser <id>', 'only clicks of this advertiser', parseId)
  .option('--campaign <id>', 'only clicks of this campaign', parseId)
  .option('--ad <id>', 'only clicks of this ad', parseId)
  .option('--publisher <name>', 'only clicks of this publisher', parsePublisher)
  .option(
    '--time-zone <name>',
    'time zone of days and hours, such as Europe/Berlin (default: that of the advertiser, or UTC)',
    parseTimeZone,
  )
  .action(async ({ since, until, by, advertiser, campaign, ad, publisher, timeZone, format }: Options) => {
    await withDatabase(async (pool) => {
      await updateSums(pool);
      const result = await readReport(pool, {
        since,
        until: until ?? new Date(Math.ceil(Date.now() / QUARTER_MS) * QUARTER_MS),
        by,
        ...(advertiser === undefined ? {} : { advertiserId: advertiser }),
        ...(campaign === undefined ? {} : { campaignId: campaign }),
        ...(ad === undefined ? {} : { adId: ad }),
        ...(publisher === undefined ? {} : { publisher }),
        ...(timeZone === undefined ? {} : { timeZone }),
      });
      if (format === 'json') return printJson(reportJson(result));
      await printReportRows(pool, result, by, format);
    });
  });

/** Prints a table or CSV for people: names stand beside the ids. */
async function printReportRows(
  pool: Pool,
  { asOf, timeZone, rows }: Report,
  by: readonly ReportKey[],
  format: Format,
): Promise<void> {
  const names = await readNames(
    pool,
    rows.flatMap(({ advertiserId }) => advertiserId ?? []),
    rows.flatMap(({ campaignId }) => campaignId ?? []),
    rows.flatMap(({ adId }) => adId ?? []),
  );
  const named = rows.map((row) => withNames(reportRowJson(row), names));
  printNote(`Complete for all clicks that were settled before ${asOf.toISOString()}. Time zone: ${timeZone}`);
  if (format === 'table') return printTable(named, 'There were no clicks in this period.');
  const keys = keyNamesOf(by).flatMap((key) => [key, ...(NAME_COLUMNS.get(key) ?? [])]);
  // A period without clicks has the header, too.
  printCsv([...keys, 'currency', 'clicks', 'charged', 'corrected'], named.map(Object.values));
}

/** The columns of the names, after those of the ids. */
const NAME_COLUMNS: ReadonlyMap<string, readonly string[]> = new Map([
  ['advertiserId', ['advertiser']],
  ['campaignId', ['campaign']],
  ['adId', ['ad']],
]);

function withNames(
  fields: ReturnType<typeof reportRowJson>,
  { advertisers, campaigns, ads }: Names,
): Record<string, string | number | null> {
  const cells = Object.entries(fields).flatMap(([key, value]) => {
    if (key === 'advertiserId')
      return [
        [key, value],
        ['advertiser', advertisers.get(Number(value)) ?? null],
      ];
    if (key === 'campaignId')
      return [
        [key, value],
        ['campaign', campaigns.get(Number(value)) ?? null],
      ];
    if (key === 'adId')
      return [
        [key, value],
        ['ad', ads.get(Number(value)) ?? null],
      ];
    return [[key, value]];
  });
  return Object.fromEntries(cells);
}
