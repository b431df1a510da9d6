import { errorMessage } from '../common/errors.ts';
import { createPool } from '../common/postgres/postgres.ts';
import { sleep } from '../common/process.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { rollUp } from '../ledger/reports/rollup.ts';
import type { Runtime } from './runtime.ts';

/** Time between the beginnings of two runs, in ms. */
const ROLLUP_MS = 3_000;
/** Shortest pause after a run, in ms: a run that takes long must not keep the server busy. */
const PAUSE_MS_MIN = 500;
/** Maximum wait for an answer, in ms. */
const QUERY_MS_MAX = 60_000;

/** Adds settled clicks to the rollup every 3 s, on a connection of its own. Any number of processors can do so: one works at a time. */
export function runRollupLoop({
  config,
  logger,
  metrics,
}: Pick<Runtime<ProcessMetrics>, 'config' | 'logger' | 'metrics'>): {
  stop: () => Promise<void>;
} {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(config.DATABASE_URL, 'rollup', 1, onError, QUERY_MS_MAX);
  const log = new ThrottledLog(logger, {
    failed: 'The processor cannot update the sums of reports and retries. Charging does not need them',
    recovered: 'The sums of reports are updated again',
  });
  const stopping = new AbortController();
  const running = (async () => {
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      try {
        const rolledTo = await rollUp(pool);
        metrics.rolledTo.set(rolledTo.getTime() / 1_000);
        log.recover();
      } catch (error) {
        log.fail({ problem: errorMessage(error) });
      }
      const tookMs = performance.now() - startedAt;
      await sleep(Math.max(PAUSE_MS_MIN, ROLLUP_MS - tookMs), stopping.signal);
    }
    await pool.end();
  })();
  return {
    stop: () => {
      stopping.abort();
      return running;
    },
  };
}
