import { errorCode, errorMessage } from '../common/errors.ts';
import { createPool } from '../common/postgres/postgres.ts';
import { sleep } from '../common/process.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { createDayPartitions, type MaintenanceOptions, maintain } from '../ledger/maintenance.ts';
import { retentionOf } from '../ledger/partitions.ts';
import type { Runtime } from './runtime.ts';

/** Time between two runs of the scheduled tasks, in ms. */
const MAINTENANCE_MS = 30_000;
const RETRY_MS = 2_000;
/** SQLSTATE lock_not_available: a lock was not granted in time. */
const LOCK_NOT_AVAILABLE = '55P03';

export type MaintenanceLoop = {
  /** Resolves once the day partitions of waiting clicks exist. After days without a processor they have to be created first. */
  readonly ready: Promise<void>;
  readonly stop: () => Promise<void>;
};

/** The settings of maintenance. */
function maintenanceOf({ config }: Runtime): MaintenanceOptions {
  return {
    ...retentionOf(config),
    ledgerRetentionDays: config.LEDGER_RETENTION_DAYS,
    brokerRetentionDays: config.BROKER_RETENTION_DAYS,
  };
}

/**
 * Maintains the ledger once, for an external schedule. If a reader locks the ledger for longer than charges can wait, it retries until
 * `signal` is aborted, because the next scheduled run can be hours away.
 */
export async function maintainLedger(
  runtime: Runtime,
  { signal }: { signal: AbortSignal },
): Promise<{ maintained: true }> {
  for (;;) {
    try {
      await maintain(runtime.pool, maintenanceOf(runtime), runtime.logger);
      return { maintained: true };
    } catch (error) {
      if (errorCode(error) !== LOCK_NOT_AVAILABLE || signal.aborted) throw error;
      await sleep(RETRY_MS, signal);
    }
  }
}

/** Maintains the ledger every `MAINTENANCE_MS` on its own connection, without a query timeout; `RETRY_MS` after a failure. */
export function runMaintenanceLoop(runtime: Runtime<ProcessMetrics>): MaintenanceLoop {
  const { config, logger, metrics } = runtime;
  const pool = createPool(config.DATABASE_URL, 'maintenance', 1, (err) =>
    logger.debug({ err }, 'A connection broke'),
  );
  const partitionsLog = new ThrottledLog(logger, {
    failed:
      'The day partitions cannot be created; the processor tries again. No click can be charged for a day without a partition',
    recovered: 'The day partitions are created again',
  });
  const log = new ThrottledLog(logger, {
    failed: 'The ledger cannot be maintained; the processor tries again. Charging does not wait for it',
    recovered: 'The ledger is maintained again',
  });
  const stop = new AbortController();
  let setReady: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    setReady = resolve;
  });
  const runOnce = async (): Promise<boolean> => {
    try {
      // The partitions come first: with them clicks can be charged, even if the other tasks must wait.
      await createDayPartitions(pool, maintenanceOf(runtime));
      partitionsLog.recover();
      setReady();
    } catch (error) {
      partitionsLog.fail({ problem: errorMessage(error) });
      return false;
    }
    try {
      await maintain(pool, maintenanceOf(runtime), logger);
      metrics.maintainedAt.set(Date.now() / 1_000);
      log.recover();
      return true;
    } catch (error) {
      log.fail({ problem: errorMessage(error) });
      return false;
    }
  };
  const running = (async () => {
    while (!stop.signal.aborted) await sleep((await runOnce()) ? MAINTENANCE_MS : RETRY_MS, stop.signal);
    await pool.end();
  })();
  return {
    ready,
    stop: () => {
      stop.abort();
      return running;
    },
  };
}
