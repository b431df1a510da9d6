import { once } from 'node:events';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { parseTime } from '../../common/parse-time.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { parsePublisher } from '../../contract/publisher.ts';
import type { ClickFilter } from '../../ledger/click-filter.ts';
import { boundExport, exportBound } from '../../ledger/clicks/export.ts';
import { textHeader, textLines } from '../../ledger/clicks/export-text.ts';
import { plainCommand, withDatabase } from '../context.ts';
import { type ExportFormat, FORMATS, parseFormat } from '../export/export-format.ts';
import type { Manifest } from '../export/manifest.ts';
import { PERIOD_LENGTHS } from '../export/periods.ts';
import { parseId } from '../parse.ts';
import { printLine, printNote } from '../print.ts';

type By = keyof typeof PERIOD_LENGTHS;

function parseBy(text: string): By {
  if (text === 'hour' || text === 'day') return text;
  throw new TollwayError('bad_options', `Expected --by hour or day, got "${text}"`);
}

type Options = {
  since?: Date;
  until?: Date;
  advertiser?: number;
  campaign?: number;
  publisher?: string;
  format: ExportFormat;
  to?: string;
  by?: By;
};

function filterOf({ advertiser, campaign, publisher }: Options): ClickFilter {
  return {
    ...(advertiser && { advertiserId: advertiser }),
    ...(campaign && { campaignId: campaign }),
    ...(publisher && { publisher }),
  };
}

async function exportToStdout(pool: Pool, options: Options): Promise<void> {
  const { since, until, format } = options;
  if (format === 'parquet') {
    throw new TollwayError('bad_options', 'Expected --to with --format parquet: it is written to files only');
  }
  if (options.by !== undefined) {
    throw new TollwayError(
      'bad_options',
      'Expected --to with --by: it is the length of the period of a file',
    );
  }
  const period = await boundExport(pool, {
    ...filterOf(options),
    ...(since && { since }),
    ...(until && { until }),
  });
  process.stdout.write(textHeader(format));
  await exportBound(pool, period, async (rows) => {
    if (!process.stdout.write(textLines(format, rows))) await once(process.stdout, 'drain');
  });
  if (!since && period.completeFrom)
    printNote(
      `Days with clicks settled before ${period.completeFrom.toISOString()} are left out: the ledger has dropped them`,
    );
  process.stderr.write(`until: ${period.until.toISOString()}\n`);
}

async function exportToTarget(pool: Pool, to: string, options: Options): Promise<void> {
  // Only this form loads the code that writes files: other commands start faster without it.
  const { exportFiles } = await import('../export/export-files.ts');
  const { openTarget } = await import('../export/open-target.ts');
  const { since, until, format, by = 'day' } = options;
  const series = { length: PERIOD_LENGTHS[by], format, filter: filterOf(options) };
  const bounds = { ...(since && { since }), ...(until && { until }) };
  const target = await openTarget(to, pool);
  try {
    const next = await exportFiles(pool, target, { ...series, ...bounds }, printFile);
    printNote(`until: ${next.since.toISOString()}`);
  } finally {
    await target.close();
  }
}

function printFile({ file, rows, amounts }: Manifest): void {
  const sums = amounts.map(({ currency, net }) => `, ${net} ${currency}`).join('');
  printLine(`${file}: ${counted(rows, 'row')}${sums}`);
}

export const exportCommand = plainCommand(
  'export',
  'Export the clicks and credits that were settled in a period',
  [
    'export --since 24h > clicks.ndjson',
    'export --since 2026-01-01 --until 2026-02-01 --advertiser 1 --format csv > january.csv',
    'export --to /var/exports --by hour --since 2026-01-01 --format parquet',
  ],
)
  .option(
    '--since <time>',
    'only what was settled at or after this time (default: everything that the ledger still has); with --to, a time in the first period of an empty target',
    parseTime,
  )
  .option(
    '--until <time>',
    'only what was settled before this time (default and maximum: the time up to which all clicks are settled)',
    parseTime,
  )
  .option('--advertiser <id>', 'only clicks of this advertiser', parseId)
  .option('--campaign <id>', 'only clicks of this campaign', parseId)
  .option('--publisher <name>', 'only clicks of this publisher', parsePublisher)
  .option(
    '--format <format>',
    `format of the rows: ${FORMATS.join(', ')}; parquet only with --to`,
    parseFormat,
    'ndjson',
  )
  .option('--to <place>', 'write a file for each complete period to s3://bucket[/prefix] or a folder')
  .option('--by <period>', 'period of each file in UTC: hour or day (default with --to: day)', parseBy)
  .action(async (options: Options) => {
    await withDatabase((pool) =>
      options.to === undefined ? exportToStdout(pool, options) : exportToTarget(pool, options.to, options),
    );
  });
