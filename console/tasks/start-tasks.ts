import { createPool, type Pool, terminatePool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { deleteOldAnswers } from '../../ledger/api-answers.ts';
import { noteBalance } from '../../ledger/books-balance.ts';
import { moveDueCampaigns } from '../../ledger/campaign-phases.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { deleteOldWebhookEvents } from '../../ledger/webhook-retention.ts';
import { type PeriodicTask, repeat } from './periodic-task.ts';

/** A start or an end of a campaign is an event within this time, in ms, and that of the transaction. */
const PHASES_MS = 500;
const RECONCILE_MS = 60_000;
const CLEAN_UP_MS = 600_000;
/** Longest query, in ms: reconciliation reads the counters of all spools. */
const QUERY_MS_MAX = 60_000;

const TASKS: readonly PeriodicTask[] = [
  {
    lock: 826_366_249,
    everyMs: PHASES_MS,
    run: moveDueCampaigns,
    lines: {
      failed:
        'Starts and ends of campaigns cannot be noted; the console retries, and webhooks get their events late. Clicks are not affected',
      recovered: 'Starts and ends of campaigns are noted again',
    },
  },
  {
    lock: 826_366_250,
    everyMs: RECONCILE_MS,
    run: reconcileBooks,
    lines: {
      failed:
        'The console cannot reconcile the books; it retries, and `books.out_of_balance` is sent late. Clicks are not affected',
      recovered: 'The console reconciles the books again',
    },
  },
  {
    lock: 826_366_251,
    everyMs: CLEAN_UP_MS,
    run: cleanUp,
    lines: {
      failed:
        'Old events of webhooks and old answers of the HTTP API cannot be deleted; the console retries. Clicks are not affected',
      recovered: 'Old events of webhooks and old answers of the HTTP API are deleted again',
    },
  },
];

async function cleanUp(pool: Pool): Promise<void> {
  await deleteOldAnswers(pool);
  await deleteOldWebhookEvents(pool);
}

/** The brokers are not read: clicks that wait there count as missing, and missing clicks are no problem of the books. */
async function reconcileBooks(pool: Pool): Promise<void> {
  await noteBalance(pool, await reconcile(pool, { brokers: [] }));
}

/** Starts the periodic tasks of the console, on connections of their own. */
export function startTasks(databaseUrl: string, logger: Logger): { stop: () => Promise<void> } {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  // Each task needs one for its lock and one for its work.
  const pool = createPool(databaseUrl, 'console tasks', 2 * TASKS.length, onError, QUERY_MS_MAX);
  const tasks = TASKS.map((task) => repeat(pool, task, logger));
  return {
    stop: async () => {
      const stopped = Promise.all(tasks.map(({ stop }) => stop()));
      // Rolls a run in progress back. The next console repeats it.
      await terminatePool(pool);
      await stopped;
    },
  };
}
