import type { EventSource, Lag, PartitionLag } from '../brokers/event-source.ts';
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
  readonly refresh: () => Promise<void>;
  /** The lag of each broker that was read. Sends no request. */
  readonly lags: () => readonly CurrentLag[];
  /** Whether this processor cannot settle all clicks. */
  readonly isBlocked: () => boolean;
  readonly stop: () => Promise<void>;
};

/** The latest lag of a broker, and when it was read (monotonic, ms). */
type KnownLag = Lag & { readonly readAt: number };

/** The lag of a broker as far as it is known now. */
export type CurrentLag = {
  readonly broker: string;
  /** `null`: the last count is stale. */
  readonly records: number | null;
  /** `null`: nothing waited when it was read last, which is long ago. */
  readonly oldestAgeSeconds: number | null;
  /** Empty if the last counts are stale. */
  readonly partitions: readonly PartitionLag[];
};

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
  const context = {
    ...{ metrics, logger, problems, stopping: stopping.signal, answerMsMax: ANSWER_MS_MAX },
    advertisersMax: config.METRICS_ADVERTISERS_MAX,
  };
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

  const isBlocked = () => database.isUnusable() || dispatcher.problems.length > 0;
  return {
    problems: () => [...problems.list(), ...dispatcher.problems],
    isBlocked,
    refresh: async () => {
      metrics.settlementBlocked.set(isBlocked() ? 1 : 0);
      metrics.clicksSetAside.set(dispatcher.clicksAside);
      setLags(
        metrics,
        [...lags].map(([broker, lag]) => currentLag(broker, lag)),
      );
      await database.refresh(STALE_MS);
    },
    lags: () => [...lags].map(([broker, lag]) => currentLag(broker, lag)),
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

/** While no new lag is read, the age of the oldest click grows with the time, and a count becomes stale. */
function currentLag(broker: string, { records, oldestAgeSeconds, partitions, readAt }: KnownLag): CurrentLag {
  const sinceMs = performance.now() - readAt;
  const isStale = sinceMs > STALE_MS;
  // Between two successful reads the age stays as it was read.
  const grownSeconds = sinceMs > 2 * READ_MS ? sinceMs / 1_000 : 0;
  const isKnown = oldestAgeSeconds > 0 || !isStale;
  return {
    broker,
    records: isStale ? null : records,
    oldestAgeSeconds: isKnown ? oldestAgeSeconds + (oldestAgeSeconds > 0 ? grownSeconds : 0) : null,
    partitions: isStale ? [] : partitions,
  };
}

/** Sets the lag gauges of the brokers and of their partitions. */
function setLags(metrics: ProcessMetrics, lags: readonly CurrentLag[]): void {
  const { lagRecords, lagAge, partitionLagRecords, partitionLagAge } = metrics;
  for (const gauge of [lagRecords, lagAge, partitionLagRecords, partitionLagAge]) gauge.reset();
  for (const { broker, partitions, ...lag } of lags) {
    if (lag.records !== null) lagRecords.set({ broker }, lag.records);
    if (lag.oldestAgeSeconds !== null) lagAge.set({ broker }, lag.oldestAgeSeconds);
    for (const { partition, records, oldestAgeSeconds } of partitions) {
      partitionLagRecords.set({ broker, partition }, records);
      partitionLagAge.set({ broker, partition }, oldestAgeSeconds);
    }
  }
}
