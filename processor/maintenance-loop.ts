import { errorCode, errorMessage } from '../common/errors.ts';
import { createPool } from '../common/postgres/postgres.ts';
import { sleep } from '../common/process.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { createDayPartitions, type MaintenanceOptions, maintain } from '../ledger/maintenance.ts';
import { retentionOf } from '../ledger/partitions.ts';
import type { Runtime } from './runtime.ts';

/** Time between two runs of the scheduled tasks, in ms. */
const MAINTENANCE_MS = 30_000;
const RETRY_MS = 2_000;
/** SQLSTATE: a lock was not to be had in time. */
const LOCK_NOT_AVAILABLE = '55P03';

export type LedgerKeeper = {
  /** Resolves when the days of the clicks that may be waiting are made: after days without a processor they are not. */
  readonly ready: Promise<void>;
  readonly stop: () => Promise<void>;
};

/** The part of the settings that maintenance follows from. */
function maintenanceOf({ config }: Runtime): MaintenanceOptions {
  return {
    ...retentionOf(config),
    ledgerRetentionDays: config.LEDGER_RETENTION_DAYS,
    brokerRetentionDays: config.BROKER_RETENTION_DAYS,
  };
}

/**
 * Maintains the ledger once, for a schedule that is kept elsewhere. Where a reader holds the ledger longer than charges may be
 * held up, it tries again until it is cut off: the next turn of the schedule may be hours away.
 */
export async function maintainLedger(
  runtime: Runtime,
  { cut }: { cut: AbortSignal },
): Promise<{ maintained: true }> {
  for (;;) {
    try {
      await maintain(runtime.pool, maintenanceOf(runtime), runtime.logger);
      return { maintained: true };
    } catch (error) {
      if (errorCode(error) !== LOCK_NOT_AVAILABLE || cut.aborted) throw error;
      await sleep(RETRY_MS, cut);
    }
  }
}

/**
 * Has the ledger maintained from now on, on a connection of its own, without haste: soon again after a failure, never twice
 * at once.
 */
export function runMaintenanceLoop(runtime: Runtime): LedgerKeeper {
  const { config, logger } = runtime;
  const pool = createPool(config.DATABASE_URL, 'maintenance', 1, (err) =>
    logger.debug({ err }, 'A connection broke'),
  );
  const log = new ThrottledLog(logger, {
    failed:
      'The ledger cannot be maintained; the processor tries again. Clicks are charged only for days that already have a partition',
    recovered: 'The ledger is maintained again',
  });
  const stop = new AbortController();
  let daysMade: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    daysMade = resolve;
  });
  const keep = async (): Promise<boolean> => {
    try {
      // Whatever else may have to wait, with the days made clicks can be charged.
      await createDayPartitions(pool, maintenanceOf(runtime));
      daysMade();
      await maintain(pool, maintenanceOf(runtime), logger);
      log.recover();
      return true;
    } catch (error) {
      log.fail({ problem: errorMessage(error) });
      return false;
    }
  };
  const running = (async () => {
    while (!stop.signal.aborted) await sleep((await keep()) ? MAINTENANCE_MS : RETRY_MS, stop.signal);
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
