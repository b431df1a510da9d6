import { TollwayError } from '../../common/errors.ts';
import { rewindPostgres } from '../../processor/sources/postgres.ts';
import { command, withDatabase } from '../command.ts';
import { parseTime } from '../parse.ts';
import { printJson, printLine } from '../print.ts';

export const rewind = command(
  'rewind',
  'Read again what was published since a time; what is in the books is found to be a duplicate',
  ['rewind --since 2h', 'rewind --since 2026-01-31T12:00:00Z'],
)
  .requiredOption('--since <time>', 'published at or after', parseTime)
  .action(async ({ since, json }: { since: Date; json?: boolean }) => {
    await withDatabase(async (pool, { stack }) => {
      if (stack.broker !== 'postgres')
        throw new TollwayError('unsupported_broker', `Expected the broker postgres, got ${stack.broker}`);
      const { records, keptSince } = await rewindPostgres(pool, since);
      const short = keptSince !== null && keptSince > since;
      if (json)
        return printJson({
          since: since.toISOString(),
          records,
          keptSince: keptSince?.toISOString() ?? null,
        });
      printLine(`${records} records are read again`);
      if (short)
        printLine(`The broker keeps nothing from before ${keptSince.toISOString()} (BROKER_RETENTION_DAYS)`);
    });
  });
