import { listOtherSources } from '../../brokers/checkpoints.ts';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { counted } from '../../common/counted.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { countDeadLetters } from '../../ledger/charge/dead-letters.ts';
import { balanceJson, reconciliationJson } from '../../ledger/output-json.ts';
import {
  type AdvertiserReconciliation,
  type Reconciliation,
  reconcile as reconcileLedger,
  type SpoolReconciliation,
} from '../../ledger/reconciliation/reconcile.ts';
import { command, type Output, withDatabase } from '../context.ts';
import { printJson, printLine, printNote, printTable } from '../print.ts';

/** Ranges of missing sequences shown of one spool. */
const GAPS_SHOWN = 20;

type Options = Output & { settled?: boolean; deep?: boolean };

const balanceRow = (advertiser: AdvertiserReconciliation) => ({
  ...balanceJson(advertiser),
  balanced: String(advertiser.balanced),
});

function gapLine({ spoolId, missing, gaps }: SpoolReconciliation): string {
  const ranges = gaps
    .slice(0, GAPS_SHOWN)
    .map(({ start, end }) => (end - start === 1 ? `${start}` : `${start}–${end - 1}`));
  return `  spool ${spoolId}: ${missing} missing, sequences ${ranges.join(', ')}${gaps.length > GAPS_SHOWN ? ', …' : ''}`;
}

function print(reconciliation: Reconciliation, settledWanted: boolean): void {
  const { accepted, charged, overBudget, invalid, rejected, inFlight, missing, unattributed } =
    reconciliation;
  printTable([{ accepted, charged, overBudget, invalid, rejected, inFlight, missing, unattributed }], '');
  printLine('');
  printTable(reconciliation.advertisers.map(balanceRow), 'There are no advertisers.');
  printLine('');
  for (const spool of reconciliation.spools) if (spool.missing > 0) printLine(gapLine(spool));
  for (const problem of reconciliation.problems) printLine(`  ${problem}`);
  if (!reconciliation.balanced) printLine('The books do NOT balance.');
  else if (missing > 0)
    printLine(
      `The books balance, but ${counted(missing, 'accepted click is', 'accepted clicks are')} MISSING.`,
    );
  else if (settledWanted && inFlight > 0)
    printLine(`The books balance; ${counted(inFlight, 'click is', 'clicks are')} still in flight.`);
  else printLine('The books balance.');
}

export const reconcile = command(
  'reconcile',
  'Check that the books balance and that no accepted click is missing',
  ['reconcile', 'reconcile --settled --deep'],
  'the books do not balance or a click is missing; with --settled also if a click is in flight',
)
  .option('--settled', 'also expect that no click is in flight')
  .option('--deep', 'also recount every row of the ledger and compare all stored sums')
  .action(async ({ format, settled = false, deep = false }: Options) => {
    await withDatabase(async (pool, { config }) => {
      const brokers = await createBacklogs(config, createLogger('reconcile', config));
      const reconciliation = await reconcileLedger(pool, { deep, brokers });
      if (format === 'json') printJson(reconciliationJson(reconciliation));
      else print(reconciliation, settled);
      const letters = await countDeadLetters(pool);
      // On standard error: dead letters are settled, and the books balance.
      if (letters > 0)
        printNote(
          `${counted(letters, 'dead letter waits', 'dead letters wait')}: npx tollway dead-letters list`,
        );
      for (const other of await listOtherSources(pool, config.BROKER))
        printNote(
          `Processors read ${other} before; records that still wait there are not counted (BROKER=${config.BROKER})`,
        );
      if (!reconciliation.balanced || reconciliation.missing > 0 || (settled && reconciliation.inFlight > 0))
        process.exitCode = 1;
    });
  });
