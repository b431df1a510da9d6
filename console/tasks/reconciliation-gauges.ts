import { errorMessage } from '../../common/errors.ts';
import { createPool, type Pool, terminatePool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { readLatestReconciliation } from '../../ledger/reconciliation/latest-reconciliation.ts';

/** Time between two reads, in ms. */
const READ_MS = 5_000;
/** Longest wait for an answer, in ms. */
const ANSWER_MS_MAX = 3_000;

type ReconciliationMetrics = Pick<
  ProcessMetrics,
  'booksProblems' | 'missingClicks' | 'inFlightClicks' | 'reconciledAt'
>;

/**
 * Exports the latest reconciliation of any console, until `stop`, on a connection of its own. While the database does not answer, the counts
 * are absent; the time of the reconciliation stays, so that its age grows.
 */
export function runReconciliationGauges(
  databaseUrl: string,
  metrics: ReconciliationMetrics,
  logger: Logger,
): { stop: () => Promise<void> } {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(databaseUrl, 'reconciliation gauges', 1, onError, ANSWER_MS_MAX, ANSWER_MS_MAX);
  const stopping = new AbortController();
  const log = new ThrottledLog(logger, {
    failed:
      'The console cannot read the latest reconciliation; its metrics are absent. Clicks are not affected',
    recovered: 'The console reads the latest reconciliation again',
  });
  const running = (async () => {
    for (; !stopping.signal.aborted; await sleep(READ_MS, stopping.signal)) {
      try {
        await readGauges(pool, metrics);
        log.recover();
      } catch (error) {
        if (stopping.signal.aborted) return;
        log.fail({ problem: errorMessage(error) });
        removeCounts(metrics);
      }
    }
  })();
  return {
    stop: async () => {
      stopping.abort();
      await terminatePool(pool);
      await running;
    },
  };
}

async function readGauges(pool: Pool, metrics: ReconciliationMetrics): Promise<void> {
  const latest = await readLatestReconciliation(pool);
  removeCounts(metrics);
  if (latest === null) return;
  metrics.booksProblems.set(latest.problemCount);
  metrics.reconciledAt.set(latest.checkedAt.getTime() / 1_000);
  if (latest.missing !== null) metrics.missingClicks.set(latest.missing);
  if (latest.inFlight !== null) metrics.inFlightClicks.set(latest.inFlight);
}

function removeCounts({ booksProblems, missingClicks, inFlightClicks }: ReconciliationMetrics): void {
  for (const gauge of [booksProblems, missingClicks, inFlightClicks]) gauge.remove();
}
