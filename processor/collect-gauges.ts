import type { EventSource, Lag } from '../brokers/event-source.ts';
import { withDeadline } from '../common/deadline.ts';
import { errorCode, errorMessage } from '../common/errors.ts';
import { createPool, terminatePool } from '../common/postgres/postgres.ts';
import { sleep } from '../common/process.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { OpenProblems, type Problem } from '../common/telemetry/problems.ts';
import { databaseGauges } from './database-gauges.ts';
import type { Runtime } from './runtime.ts';

/** Time between two reads, in ms. */
const READ_MS = 1_000;
/** Longest wait for an answer, in ms; then the read has failed. */
const ANSWER_MS_MAX = 3_000;
/** Age after which a value is no longer exported, in ms. */
const STALE_MS = 15_000;

export type GaugeCollector = {
  /** Which servers do not answer or do not settle clicks. Sends no request. */
  readonly problems: () => readonly Problem[];
  /** Updates the gauges from the latest reads: removes stale values and advances ages. Sends no request. */
  readonly refresh: () => void;
  readonly stop: () => Promise<void>;
};

/** The latest lag of a broker, and when it was read (monotonic, ms). */
type KnownLag = Lag & { readonly readAt: number };

/**
 * Reads the gauges that come from the database and the brokers in the background, each server independently, so that neither a scrape nor
 * readiness waits for a server. Uses its own database connection: while the database hangs, the lanes can hold all of theirs.
 */
export function collectGauges(
  { config, metrics, logger, dispatcher }: Runtime<ProcessMetrics>,
  sources: ReadonlyMap<string, EventSource>,
): GaugeCollector {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(config.DATABASE_URL, 'gauges', 1, onError, ANSWER_MS_MAX, ANSWER_MS_MAX);
  const stopping = new AbortController();
  const problems = new OpenProblems();
  const lags = new Map<string, KnownLag>();
  const context = { metrics, logger, problems, stopping: stopping.signal, answerMsMax: ANSWER_MS_MAX };
  const database = databaseGauges(pool, context);
  const lagReaders = [...sources].map(([broker, source]) =>
    lagReader(broker, source, {
      problems,
      onLag: (lag) => lags.set(broker, { ...lag, readAt: performance.now() }),
      onUp: (isUp) => broker === config.BROKER && metrics.brokerUp.set(isUp ? 1 : 0),
    }),
  );
  const repeat = async (read: () => Promise<void>) => {
    for (; !stopping.signal.aborted; await sleep(READ_MS, stopping.signal)) await read();
  };
  const running = Promise.all([database.read, ...lagReaders].map(repeat));

  return {
    problems: () => [...problems.list(), ...dispatcher.problems],
    refresh: () => {
      metrics.settlementBlocked.set(database.isUnusable() || dispatcher.problems.length > 0 ? 1 : 0);
      metrics.clicksSetAside.set(dispatcher.clicksAside);
      database.removeStale(STALE_MS);
      for (const [broker, lag] of lags) setLag(metrics, broker, lag);
    },
    stop: async () => {
      stopping.abort();
      await terminatePool(pool);
      await running;
    },
  };
}

/** Returns a function that reads the lag of one broker and reports whether the broker answers. It never rejects. */
function lagReader(
  broker: string,
  source: EventSource,
  deps: { problems: OpenProblems; onLag: (lag: Lag) => void; onUp: (isUp: boolean) => void },
): () => Promise<void> {
  // A request that hangs is not sent a second time.
  let pending: Promise<Lag> | null = null;
  const readLag = () => {
    pending ??= source.lag().finally(() => {
      pending = null;
    });
    return withDeadline(pending, ANSWER_MS_MAX, broker);
  };
  return async () => {
    let isUp = !source.isFailing();
    try {
      deps.onLag(await readLag());
      deps.problems.clear(broker);
    } catch (error) {
      isUp &&= errorCode(error) === 'database';
      deps.problems.report(broker, errorMessage(error));
    }
    deps.onUp(isUp);
  };
}

/** Sets the lag gauges. While no new lag is read, the age of the oldest click grows with the time, and a count becomes stale. */
function setLag(
  metrics: ProcessMetrics,
  broker: string,
  { records, oldestAgeSeconds, readAt }: KnownLag,
): void {
  const sinceMs = performance.now() - readAt;
  const isStale = sinceMs > STALE_MS;
  if (isStale) metrics.lagRecords.remove({ broker });
  else metrics.lagRecords.set({ broker }, records);
  // Between two successful reads the age stays as it was read.
  const grownMs = sinceMs > 2 * READ_MS ? sinceMs : 0;
  if (oldestAgeSeconds > 0) metrics.lagAge.set({ broker }, oldestAgeSeconds + grownMs / 1_000);
  else if (isStale) metrics.lagAge.remove({ broker });
  else metrics.lagAge.set({ broker }, 0);
}
