import type { Config } from '../../common/config/config.ts';
import { createPool, type Pool, terminatePool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { deleteOldAnswers } from '../../ledger/access/api-answers.ts';
import { deleteOldSessions } from '../../ledger/access/console-sessions.ts';
import { deleteOldLoginLinks } from '../../ledger/access/login-links.ts';
import { moveDueCampaigns } from '../../ledger/accounts/campaign-phases.ts';
import { deleteOldParts } from '../../ledger/operations/parts.ts';
import { deleteOldWebhookEvents } from '../../ledger/webhooks/retention.ts';
import { type PeriodicTask, repeat } from './periodic-task.ts';
import { booksReconciler, RECONCILE_MS } from './reconcile-books.ts';

/** A start or an end of a campaign is an event within this time, in ms, and that of the transaction. */
const PHASES_MS = 500;
const CLEAN_UP_MS = 600_000;
/** Longest wait for the end of the tasks at shutdown, in ms. */
const STOP_MS_MAX = 1_000;
/** Longest query, in ms: reconciliation reads the counters of all spools. */
const QUERY_MS_MAX = 60_000;

const PHASES: PeriodicTask = {
  lock: 826_366_249,
  everyMs: PHASES_MS,
  run: moveDueCampaigns,
  lines: {
    failed:
      'Starts and ends of campaigns cannot be noted; the console retries, and webhooks get their events late. Clicks are not affected',
    recovered: 'Starts and ends of campaigns are noted again',
  },
};

const CLEAN_UP: PeriodicTask = {
  lock: 826_366_251,
  everyMs: CLEAN_UP_MS,
  run: cleanUp,
  lines: {
    failed:
      'Old events of webhooks, stored answers, sessions and states of parts cannot be deleted; the console retries. Clicks are not affected',
    recovered: 'Old events of webhooks, stored answers, sessions and states of parts are deleted again',
  },
};

/** With a large backlog, a reconciliation reads it for minutes: it then runs for at most a tenth of the time. */
function reconciliation(config: Config, logger: Logger): PeriodicTask {
  return {
    lock: 826_366_250,
    everyMs: RECONCILE_MS,
    restFactor: 9,
    run: booksReconciler(config, logger),
    lines: {
      failed:
        'The console cannot reconcile the books; it retries, and `books.out_of_balance` is sent late. Clicks are not affected',
      recovered: 'The console reconciles the books again',
    },
  };
}

async function cleanUp(pool: Pool): Promise<void> {
  await deleteOldAnswers(pool);
  await deleteOldSessions(pool);
  await deleteOldLoginLinks(pool);
  await deleteOldWebhookEvents(pool);
  await deleteOldParts(pool);
}

/** Starts the periodic tasks of the console, on connections of their own. */
export function startTasks(
  databaseUrl: string,
  config: Config,
  logger: Logger,
): { stop: () => Promise<void> } {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const repeated = [PHASES, reconciliation(config, logger), CLEAN_UP];
  // Each task needs one for its lock and one for its work.
  const pool = createPool(databaseUrl, 'console tasks', 2 * repeated.length, onError, QUERY_MS_MAX);
  const tasks = repeated.map((task) => repeat(pool, task, logger));
  return {
    stop: async () => {
      const stopped = Promise.all(tasks.map(({ stop }) => stop()));
      // Rolls a run in progress back. The next console repeats it.
      await terminatePool(pool);
      // A run that reads a broker can go on for longer. It cannot write anything any more.
      await Promise.race([stopped, sleep(STOP_MS_MAX)]);
    },
  };
}
