import { createBacklogs } from '../../brokers/create-event-sources.ts';
import type { Config } from '../../common/config/config.ts';
import { errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { emitBalanceChange } from '../../ledger/reconciliation/emit-balance-change.ts';
import { isReconciledSince, storeReconciliation } from '../../ledger/reconciliation/latest-reconciliation.ts';
import { type Reconciliation, reconcile } from '../../ledger/reconciliation/reconcile.ts';

/** Time between two reconciliations of all consoles together, in ms. */
export const RECONCILE_MS = 60_000;
/** A result that is younger than this, in ms, is that of another console. */
const FRESH_MS = 0.9 * RECONCILE_MS;

/**
 * Creates the task that reconciles the books, stores the result and notes whether they balance. While the broker does not answer, it
 * reconciles without it: the books are checked all the same, and only which clicks are missing is not known.
 */
export function booksReconciler(config: Config, logger: Logger): (pool: Pool) => Promise<void> {
  const log = new ThrottledLog(logger, {
    failed:
      'The console cannot read the broker to reconcile the books; it checks them without it and retries. Clicks are not affected by the console',
    recovered: 'The console reads the broker again to reconcile the books',
  });
  return async (pool) => {
    if (await isReconciledSince(pool, FRESH_MS)) return;
    const beganAtMs = performance.now();
    const withBroker = await reconcileWithBroker(pool, config, logger).then(
      (result) => {
        log.recover();
        return result;
      },
      (error: unknown) => {
        log.fail({ problem: errorMessage(error) });
        return null;
      },
    );
    // If the database was the reason, this fails too.
    const result = withBroker ?? (await reconcile(pool, { brokers: [] }));
    const durationMs = performance.now() - beganAtMs;
    await storeReconciliation(pool, result, { hasBroker: withBroker !== null, durationMs });
    await emitBalanceChange(pool, result);
  };
}

async function reconcileWithBroker(pool: Pool, config: Config, logger: Logger): Promise<Reconciliation> {
  return reconcile(pool, { brokers: await createBacklogs(config, logger) });
}
