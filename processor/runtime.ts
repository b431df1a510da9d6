import type { Config } from '../common/config/config.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { createPool, type Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import { BatchDispatcher } from './dispatch/batch-dispatcher.ts';

/** What the handler needs on every deployment target: settings, logger, metrics, connections, and the dispatcher of batches. */
export type Runtime<M extends Metrics = Metrics> = {
  readonly config: Config & { readonly DATABASE_URL: string };
  readonly logger: Logger;
  readonly metrics: M;
  readonly pool: Pool;
  readonly dispatcher: BatchDispatcher;
};

/** Connections of a long-lived runtime besides those of the lanes, for checkpoints and leases of the sources. */
const MORE_CONNECTIONS = 4;
/** Longest query, in ms, before it is retried. */
const QUERY_MS_MAX = 60_000;

export type RuntimeDeps<M extends Metrics> = {
  readonly metrics: M;
  readonly logger: Logger;
  /** Called if a constraint contradicts the charge's arithmetic. Nothing of that batch was kept, and the process must stop. */
  readonly onInvariant: (error: TollwayError) => void;
  /** Number of batches that are settled at the same time. Default: `PARALLELIZATION`. */
  readonly lanes?: number;
  readonly connections?: number;
  /** 0 means no timeout. */
  readonly queryMsMax?: number;
};

/** Creates a runtime. The database is connected on first use. Throws `bad_settings` without `DATABASE_URL`. */
export function createRuntime<M extends Metrics>(
  name: string,
  config: Config,
  {
    metrics,
    logger,
    onInvariant,
    lanes = config.PARALLELIZATION,
    connections = lanes + MORE_CONNECTIONS,
    queryMsMax = QUERY_MS_MAX,
  }: RuntimeDeps<M>,
): Runtime<M> {
  const { DATABASE_URL } = config;
  if (DATABASE_URL === undefined) {
    throw new TollwayError('bad_settings', 'DATABASE_URL: expected the database of the ledger, got nothing');
  }
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(DATABASE_URL, name, connections, onError, queryMsMax);
  const dispatcher = new BatchDispatcher(
    pool,
    {
      batchSize: config.BATCH_SIZE,
      lanes,
      clickAgeMaxDays: config.CLICK_AGE_MAX_DAYS,
      retryAttempts: config.RETRY_ATTEMPTS,
    },
    {
      metrics,
      logger,
      onInvariant: (cause) => onInvariant(invariantError(cause)),
    },
  );
  return { config: { ...config, DATABASE_URL }, logger, metrics, pool, dispatcher };
}

/** The error that ends a process because a constraint of the database refused a charge. */
export function invariantError(cause: unknown): TollwayError {
  const message = `A constraint of the database refused a charge: ${errorMessage(cause)}. Nothing of the batch was kept, and its clicks wait in the broker. A restart does not help: see docs/runbook.md#tollwayinvariantbroken`;
  return new TollwayError('invariant', message, { cause });
}
