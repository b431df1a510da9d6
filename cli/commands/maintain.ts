import { createLogger } from '../../common/logger.ts';
import { retentionOf } from '../../migrations/partitions.ts';
import { maintain as maintainLedger } from '../../processor/maintenance.ts';
import { command, withDatabase } from '../command.ts';
import { printJson, printLine } from '../print.ts';

export const maintain = command(
  'maintain',
  'Make the days to come, merge tallies, close the days that are over: for a schedule, where no processor runs that does it',
  ['maintain', 'maintain --accept-step'],
)
  .option(
    '--accept-step',
    'the clock of the database server and the retention were checked: take a step of many days that was refused',
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
