import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { parseTime } from '../../common/parse-time.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { command, type Output, recordIntent, withDatabase } from '../context.ts';
import { printJson, printLine } from '../print.ts';

export const rewind = command(
  'rewind',
  'Read the records of the broker again from a time on. Records that are in the ledger change nothing',
  ['rewind --since 2h', 'rewind --since 2026-01-31T12:00:00Z'],
)
  .requiredOption('--since <time>', 'read records that were published at or after this time', parseTime)
  .action(async ({ since, format }: Output & { since: Date }) => {
    if (since > new Date())
      throw new TollwayError('bad_time', `--since: expected a time in the past, got ${since.toISOString()}`);
    await withDatabase(async (pool, { config }) => {
      const after = { since: since.toISOString() };
      await recordIntent(pool, { action: 'broker.rewind', subject: config.BROKER, after });
      let records: number | null = 0;
      let short = false;
      for (const backlog of await createBacklogs(config, createLogger('rewind', config))) {
        const rewound = await backlog.rewind(pool, since);
        records = records === null || rewound.records === null ? null : records + rewound.records;
        // The last backlog is that of BROKER; before it comes the table of the Postgres broker, which may still have records.
        short = rewound.short;
      }
      if (format === 'json') return printJson({ since: since.toISOString(), records, short });
      printLine(
        records === null
          ? 'The stream is read again'
          : `${counted(records, 'record is', 'records are')} read again`,
      );
      if (short) printLine('The broker may have deleted some of that time (BROKER_RETENTION_DAYS)');
    });
  });
