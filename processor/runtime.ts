import type { Config } from '../common/config/config.ts';
import { TollwayError } from '../common/errors.ts';
import { createPool, type Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import { BatchDispatcher } from './dispatch/batch-dispatcher.ts';

/** What surrounds the handler wherever it lives: settings, log, metrics, connections, and the host that hands it batches. */
export type Runtime<M extends Metrics = Metrics> = {
  readonly config: Config & { readonly DATABASE_URL: string };
  readonly logger: Logger;
  readonly metrics: M;
  readonly pool: Pool;
  readonly dispatcher: BatchDispatcher;
};

/** Connections besides those of the lanes, where a runtime lives long: the sources' claims, and observation. */
const MORE_CONNECTIONS = 4;
/** Longest wait for an answer of the database, in ms; then what was asked is asked again. */
const QUERY_MS_MAX = 60_000;

export type RuntimeDeps<M extends Metrics> = {
  readonly metrics: M;
  readonly logger: Logger;
  /** Hears of a constraint that says that our arithmetic is wrong: nothing of that batch was kept, and this runtime must not go on. */
  readonly onInvariant: (error: TollwayError) => void;
  /** Handlers at work at once. Default: `PARALLELIZATION`. */
  readonly lanes?: number;
  readonly connections?: number;
  /** 0 waits for ever. */
  readonly queryMsMax?: number;
};

/** Opens a runtime. Nothing is connected yet. Throws `bad_settings` without a database. */
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
      onInvariant: (cause) => {
        const message = `A constraint says that our arithmetic is wrong; nothing of the batch was kept: ${cause}`;
        onInvariant(new TollwayError('invariant', message, { cause }));
      },
    },
  );
  return { config: { ...config, DATABASE_URL }, logger, metrics, pool, dispatcher };
}
