import { errorMessage } from '../../common/errors.ts';
import { inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { type FailureLines, ThrottledLog } from '../../common/telemetry/throttled-log.ts';

/** Work that the consoles repeat: of several, one does it at a time. */
export type PeriodicTask = {
  /** Key of its advisory lock. */
  readonly lock: number;
  /** Time between the beginnings of two runs, in ms. */
  readonly everyMs: number;
  /** After a run it rests at least this many times as long as the run took; 0 by default. */
  readonly restFactor?: number;
  /** Must be correct even if two processes run it at once: the lock only saves work. */
  readonly run: (pool: Pool) => Promise<unknown>;
  readonly lines: FailureLines;
};

/**
 * Runs a task now if no other console runs it. Returns whether it ran. The lock belongs to a transaction that is open meanwhile, so the server
 * releases it when this process ends. Needs two connections of the pool. Throws what the task throws.
 */
export function runAlone(pool: Pool, { lock, run }: Pick<PeriodicTask, 'lock' | 'run'>): Promise<boolean> {
  return inTransaction(pool, async (connection) => {
    const { rows } = await connection.query<{ isAlone: boolean }>(
      'select pg_try_advisory_xact_lock($1) as "isAlone"',
      [lock],
    );
    if (!rows[0]?.isAlone) return false;
    await run(pool);
    return true;
  });
}

/** Repeats a task until `stop`, which waits for the end of a run in progress. A failure is logged, and the next run tries again. */
export function repeat(pool: Pool, task: PeriodicTask, logger: Logger): { stop: () => Promise<void> } {
  const log = new ThrottledLog(logger, task.lines);
  const stopping = new AbortController();
  const running = (async () => {
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      try {
        await runAlone(pool, task);
        log.recover();
      } catch (error) {
        if (!stopping.signal.aborted) log.fail({ problem: errorMessage(error) });
      }
      const tookMs = performance.now() - startedAt;
      await sleep(Math.max(task.everyMs - tookMs, (task.restFactor ?? 0) * tookMs), stopping.signal);
    }
  })();
  return {
    stop: () => {
      stopping.abort();
      return running;
    },
  };
}
