import { createLogger } from '../../common/telemetry/logger.ts';
import { maintain as maintainLedger } from '../../ledger/maintenance.ts';
import { retentionOf } from '../../ledger/partitions.ts';
import { command, withDatabase } from '../context.ts';
import { printJson, printLine } from '../print.ts';

export const maintain = command(
  'maintain',
  'Create partitions for coming days, merge spool counters and close days past retention',
  ['maintain', 'maintain --accept-step'],
)
  .option(
    '--accept-step',
    'create or close more days than a run usually may; check the clock of the database server and the retention first',
  )
  .action(async ({ json, acceptStep = false }: { json?: boolean; acceptStep?: boolean }) => {
    await withDatabase(async (pool, { config }) => {
      const options = {
        ...retentionOf(config),
        acceptsStep: acceptStep,
        ledgerRetentionDays: config.LEDGER_RETENTION_DAYS,
        brokerRetentionDays: config.BROKER_RETENTION_DAYS,
      };
      await maintainLedger(pool, options, createLogger('maintain', config));
      if (json) printJson({ maintained: true });
      else printLine('The ledger is maintained');
    });
  });
