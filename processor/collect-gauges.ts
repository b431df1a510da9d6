import type { EventSource, Lag } from '../brokers/event-source.ts';
import { withDeadline } from '../common/deadline.ts';
import { errorCode, errorMessage } from '../common/errors.ts';
import { createPool, type Pool, terminatePool } from '../common/postgres/postgres.ts';
import { sleep } from '../common/process.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { OpenProblems, type Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { readBudgets } from '../ledger/advertisers.ts';
import { countDeadLetters } from '../ledger/dead-letters.ts';
import type { Runtime } from './runtime.ts';

/** Most advertisers whose budgets are exported, the latest first: a bound for Prometheus, not for us. */
const ADVERTISERS_MAX = 10_000;
/** Time between two looks, in ms, and between two times that all budgets are read: setting thousands of gauges takes a while. */
const LOOK_MS = 1_000;
const BUDGETS_MS = 5_000;
/** Longest wait for an answer, in ms; then the look has failed. */
const ANSWER_MS_MAX = 3_000;
/** What was read longer ago than this is shown no more, in ms. */
const STALE_MS = 15_000;

export type GaugeCollector = {
  /** What does not answer, or does not settle clicks. Asks nobody. */
  readonly problems: () => readonly Problem[];
  /** Brings the gauges to this moment: what is stale is removed, an age counts on. Asks nobody. */
  readonly refresh: () => void;
  readonly stop: () => Promise<void>;
};

/** What a broker said last, and when (monotonic, ms). */
type KnownLag = Lag & { readonly at: number };

/**
 * Reads what only the database and the brokers know, in the background and each on its own, so that neither a scrape nor readiness
 * ever waits for one of them. The database is read on a connection that the handlers do not share: they may hold all of theirs while
 * it hangs.
 */
export function collectGauges(
  { config, metrics, logger, dispatcher }: Runtime<ProcessMetrics>,
  sources: ReadonlyMap<string, EventSource>,
): GaugeCollector {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(config.DATABASE_URL, 'gauges', 1, onError, ANSWER_MS_MAX, ANSWER_MS_MAX);
  const stopping = new AbortController();
  const open = new OpenProblems();
  const known = new Map<string, KnownLag>();
  let budgetsReadAt: number | null = null;
  /** Whether the database, when it was asked last, could not have charged a click. */
  let isDatabaseUseless = false;
  const asking = new ThrottledLog(logger, {
    failed:
      'The database does not answer the processor; clicks wait in the broker. Check the server and the network',
    recovered: 'The database answers the processor again',
  });
  open.report('database', 'it has not been checked yet');

  const lookAtDatabase = async () => {
    try {
      const { rows } = await withDeadline(
        pool.query<{ isReadOnly: boolean }>(
          `select current_setting('transaction_read_only') = 'on' as "isReadOnly"`,
        ),
        ANSWER_MS_MAX,
        'The database',
      );
      isDatabaseUseless = rows[0]?.isReadOnly ?? false;
      metrics.databaseUp.set(1);
      asking.recover();
      if (isDatabaseUseless) open.report('database', 'it is read-only: no click can be charged');
      else open.clear('database');
      if (budgetsReadAt !== null && performance.now() - budgetsReadAt < BUDGETS_MS) return;
      await showBudgets(pool, metrics);
      budgetsReadAt = performance.now();
    } catch (error) {
      if (stopping.signal.aborted) return;
      isDatabaseUseless = true;
      metrics.databaseUp.set(0);
      asking.fail({ problem: errorMessage(error) });
      open.report('database', `it does not answer: ${errorMessage(error)}`);
    }
  };
  const lookAt = (broker: string, source: EventSource) => {
    // One that hangs is not asked a second time.
    let asked: Promise<Lag> | null = null;
    const ask = () => {
      asked ??= source.lag().finally(() => {
        asked = null;
      });
      return withDeadline(asked, ANSWER_MS_MAX, broker);
    };
    return async () => {
      let isUp = !source.isFailing();
      try {
        known.set(broker, { ...(await ask()), at: performance.now() });
        open.clear(broker);
      } catch (error) {
        isUp &&= errorCode(error) === 'database';
        open.report(broker, errorMessage(error));
      }
      if (broker === config.BROKER) metrics.brokerUp.set(isUp ? 1 : 0);
    };
  };
  const repeat = async (look: () => Promise<void>) => {
    for (; !stopping.signal.aborted; await sleep(LOOK_MS, stopping.signal)) await look();
  };
  const looks = [lookAtDatabase, ...[...sources].map(([broker, source]) => lookAt(broker, source))];
  const running = Promise.all(looks.map(repeat));

  return {
    problems: () => [...open.list(), ...dispatcher.problems],
    refresh: () => {
      metrics.settlementBlocked.set(isDatabaseUseless || dispatcher.problems.length > 0 ? 1 : 0);
      metrics.clicksSetAside.set(dispatcher.clicksAside);
      if (budgetsReadAt !== null && performance.now() - budgetsReadAt > STALE_MS) removeBudgets(metrics);
      for (const [broker, lag] of known) showLag(metrics, broker, lag);
    },
    stop: async () => {
      stopping.abort();
      await terminatePool(pool);
      await running;
    },
  };
}

/** Reads budgets and dead letters into the metrics. */
async function showBudgets(pool: Pool, metrics: ProcessMetrics): Promise<void> {
  const advertisers = await readBudgets(pool, ADVERTISERS_MAX);
  const letters = await countDeadLetters(pool);
  removeBudgets(metrics);
  for (const { id: advertiser, name, status, currency, remaining, spent } of advertisers) {
    metrics.budgetRemaining.set({ advertiser, currency }, remaining);
    metrics.budgetSpent.set({ advertiser, currency }, spent);
    metrics.advertiserInfo.set({ advertiser, name, status, currency }, 1);
    // An alert on what it grows by has to see it at 0.
    metrics.overDelivery.inc({ advertiser, currency }, 0);
  }
  metrics.deadLetters.set(letters);
}

function removeBudgets(metrics: ProcessMetrics): void {
  metrics.budgetRemaining.reset();
  metrics.budgetSpent.reset();
  metrics.advertiserInfo.reset();
  metrics.deadLetters.remove();
}

/** The age of a click that waits counts on while nobody says that it waits no more; that nothing waits does not stay true. */
function showLag(metrics: ProcessMetrics, broker: string, { records, oldestAgeSeconds, at }: KnownLag): void {
  const sinceMs = performance.now() - at;
  const isStale = sinceMs > STALE_MS;
  if (isStale) metrics.lagRecords.remove({ broker });
  else metrics.lagRecords.set({ broker }, records);
  // Between two looks that succeed the age is as it was read.
  const grownMs = sinceMs > 2 * LOOK_MS ? sinceMs : 0;
  if (oldestAgeSeconds > 0) metrics.lagAge.set({ broker }, oldestAgeSeconds + grownMs / 1_000);
  else if (isStale) metrics.lagAge.remove({ broker });
  else metrics.lagAge.set({ broker }, 0);
}
