import { once } from 'node:events';
import { Option } from 'commander';
import { TollwayError } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import { printable, printableJson } from '../../common/text.ts';
import { type ExportRow, exportLedger } from '../../ledger/export.ts';
import { plainCommand, withDatabase } from '../context.ts';
import { csvLine } from '../csv.ts';
import { parseId, parseTime } from '../parse.ts';

const FORMATS = ['ndjson', 'csv'] as const;
type Format = (typeof FORMATS)[number];

function parseFormat(text: string): Format {
  const found = FORMATS.find((format) => format === text);
  if (found !== undefined) return found;
  throw new TollwayError('bad_format', `Expected ${FORMATS.join(' or ')}, got "${printable(text)}"`);
}

function fieldsOf(row: ExportRow) {
  return {
    clickId: row.clickId,
    nonce: row.nonce,
    advertiserId: row.advertiserId,
    campaignId: row.campaignId,
    adId: row.adId,
    publisher: row.publisher,
    outcome: row.outcome,
    reason: row.reason,
    charged: formatAmount(row.chargedMicros),
    currency: row.currency,
    clickedAt: row.clickedAt?.toISOString() ?? null,
    settledAt: row.settledAt.toISOString(),
    spoolId: row.spoolId,
    sequence: row.sequence === null ? null : Number(row.sequence),
    kind: row.kind,
  };
}

const COLUMNS = [
  'clickId',
  'nonce',
  'advertiserId',
  'campaignId',
  'adId',
  'publisher',
  'outcome',
  'reason',
  'charged',
  'currency',
  'clickedAt',
  'settledAt',
  'spoolId',
  'sequence',
  'kind',
] as const satisfies readonly (keyof ReturnType<typeof fieldsOf>)[];

function toLine(row: ExportRow, format: Format): string {
  const fields = fieldsOf(row);
  return format === 'csv' ? csvLine(COLUMNS.map((name) => fields[name])) : printableJson(fields);
}

type Options = { since: Date; until?: Date; advertiser?: number; campaign?: number; format: Format };

export const exportCommand = plainCommand(
  'export',
  'Export the clicks and credits that were settled in a period',
  [
    'export --since 24h > clicks.ndjson',
    'export --since 2026-01-01 --until 2026-02-01 --advertiser 1 --format csv > january.csv',
  ],
)
  .addOption(
    new Option('--since <time>', 'only what was settled at or after this time')
      .argParser(parseTime)
      .default(new Date(0), 'everything'),
  )
  .option(
    '--until <time>',
    'only what was settled before this time (default and maximum: the time up to which all clicks are settled)',
    parseTime,
  )
  .option('--advertiser <id>', 'only clicks of this advertiser', parseId)
  .option('--campaign <id>', 'only clicks of this campaign', parseId)
  .option('--format <format>', `format of the rows: ${FORMATS.join(' or ')}`, parseFormat, 'ndjson')
  .action(async ({ since, until, advertiser, campaign, format }: Options) => {
    await withDatabase(async (pool) => {
      const filter = {
        since,
        ...(until && { until }),
        ...(advertiser && { advertiserId: advertiser }),
        ...(campaign && { campaignId: campaign }),
      };
      if (format === 'csv') process.stdout.write(`${csvLine(COLUMNS)}\n`);
      const bound = await exportLedger(pool, filter, async (rows) => {
        const text = rows.map((row) => `${toLine(row, format)}\n`).join('');
        if (!process.stdout.write(text)) await once(process.stdout, 'drain');
      });
      process.stderr.write(`until: ${bound.toISOString()}\n`);
    });
  });
