import { createLogger } from '../../common/telemetry/logger.ts';
import { maintain as maintainLedger } from '../../ledger/maintenance.ts';
import { retentionOf } from '../../ledger/partitions.ts';
import { rebuildRollup } from '../../ledger/reports/rollup.ts';
import { command, type Output, recordIntent, withDatabase } from '../context.ts';
import { printJson, printLine } from '../print.ts';

type Options = Output & { acceptStep?: boolean; rebuildReports?: boolean };

export const maintain = command(
  'maintain',
  'Create partitions for coming days, merge spool counters and close days past retention',
  ['maintain', 'maintain --accept-step', 'maintain --rebuild-reports'],
)
  .option(
    '--accept-step',
    'create or close more days than a run usually may; check the clock of the database server and the retention first',
  )
  .option(
    '--rebuild-reports',
    'compute the sums of `report` again from the ledger, after `reconcile --deep` has reported wrong ones',
  )
  .action(async ({ format, acceptStep = false, rebuildReports = false }: Options) => {
    await withDatabase(async (pool, { config }) => {
      const options = {
        ...retentionOf(config),
        acceptsStep: acceptStep,
        ledgerRetentionDays: config.LEDGER_RETENTION_DAYS,
        brokerRetentionDays: config.BROKER_RETENTION_DAYS,
      };
      // Other runs are routine, as those of the processors.
      if (acceptStep || rebuildReports)
        await recordIntent(pool, {
          ...{ action: 'ledger.maintain', subject: 'ledger' },
          after: { acceptStep, rebuildReports },
        });
      await maintainLedger(pool, options, createLogger('maintain', config));
      if (rebuildReports) await rebuildRollup(pool);
      if (format === 'json') printJson({ maintained: true });
      else printLine('The ledger is maintained');
    });
  });
