import { type Config, parseConfig } from '../common/config.ts';
import { readEnvironment } from '../common/environment.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { runProcess, sleep } from '../common/lifecycle.ts';
import { createLogger } from '../common/logger.ts';
import { createMetrics } from '../common/metrics.ts';
import { serveOperations } from '../common/ops-server.ts';
import { createPool, databaseAnswers } from '../common/postgres.ts';
import { retentionOf } from '../migrations/migrate.ts';
import { createSources } from './create-sources.ts';
import { HandlerHost } from './handler-host.ts';
import { maintain, makeDays } from './maintenance.ts';
import { observeBooks } from './observe.ts';

/** Longest wait for an answer of the database, in ms; then what was asked is asked again. */
const QUERY_MS_MAX = 60_000;
/** Time between two runs of the scheduled tasks, in ms. */
const MAINTENANCE_MS = 30_000;
const RETRY_MS = 2_000;
/** Time what was taken gets to be settled at the end, in ms. What is left comes again. */
const SETTLE_MS = 6_000;

/** Connections: one for each lane, the source's claims, and observation. */
function connectionsOf(config: Config): number {
  return config.PARALLELIZATION + 4;
}

await runProcess(async (open, fail) => {
  const config = parseConfig(readEnvironment());
  const logger = createLogger('processor', config);
  const metrics = createMetrics('processor');
  const { DATABASE_URL: databaseUrl } = config;
  if (databaseUrl === undefined) {
    throw new TollwayError('bad_settings', 'DATABASE_URL: expected the database of the ledger, got nothing');
  }

  const openPool = (name: string, max: number, queryMsMax: number) => {
    const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
    const opened = createPool(databaseUrl, name, max, onError, queryMsMax);
    open({ name: `${name} connections`, close: () => opened.end() });
    return opened;
  };
  const pool = openPool('processor', connectionsOf(config), QUERY_MS_MAX);
  const maintenancePool = openPool('maintenance', 1, 0);

  const host = new HandlerHost(
    pool,
    {
      batchSize: config.BATCH_SIZE,
      lanes: config.PARALLELIZATION,
      clickAgeMaxDays: config.CLICK_AGE_MAX_DAYS,
      retryAttempts: config.RETRY_ATTEMPTS,
      bisectOnError: config.BISECT_ON_ERROR === 'on',
    },
    {
      metrics,
      logger,
      onInvariant: (cause) =>
        fail(
          new TollwayError(
            'invariant',
            `A constraint says that our arithmetic is wrong; nothing of the batch was kept: ${cause}`,
            {
              cause,
            },
          ),
        ),
    },
  );
  const sources = createSources({ ...config, DATABASE_URL: databaseUrl }, pool, host, { metrics, logger });
  let daysMade: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    daysMade = resolve;
  });
  const maintenance = schedule(MAINTENANCE_MS, async () => {
    const options = {
      ...retentionOf(config),
      ledgerRetentionDays: config.LEDGER_RETENTION_DAYS,
      brokerRetentionDays: config.BROKER_RETENTION_DAYS,
    };
    try {
      // Whatever else may have to wait, with the days made clicks can be charged.
      await makeDays(maintenancePool, options);
      daysMade();
      await maintain(maintenancePool, options, logger);
      return true;
    } catch (error) {
      logger.warn({ problem: errorMessage(error) }, 'Maintenance has to wait');
      return false;
    }
  });
  open({ name: 'maintenance', close: maintenance });

  const operations = {
    problems: async () => [
      ...((await databaseAnswers(pool)) ? [] : ['the database does not answer']),
      ...[...sources.values()].flatMap((source) => source.problem() ?? []),
    ],
    metrics: async () => {
      await observeBooks(pool, sources, metrics);
      return metrics.registry.metrics();
    },
  };
  const ops = await serveOperations(operations, config.PROCESSOR_OPS_PORT, config.OPS_HOST);
  open({ name: 'operations port', close: () => void ops.close() });
  open({
    name: 'event sources',
    close: async () => {
      const stop = () => Promise.all([...sources.values()].map((source) => source.stop()));
      await Promise.race([stop(), sleep(SETTLE_MS)]);
      host.abort();
      await stop();
    },
  });
  // After days without a processor the days of the waiting clicks have to be made first.
  for (const source of sources.values()) ready.then(() => source.run()).catch(fail);
  const { BROKER: broker, PARALLELIZATION: lanes } = config;
  logger.info({ broker, lanes }, `Charging what ${broker} brings, ${lanes} handlers at work`);
}, 'processor');

/** Runs a task now and again and again, soon after it has failed, never twice at once. The answer ends it. */
function schedule(everyMs: number, task: () => Promise<boolean>): () => Promise<void> {
  const stop = new AbortController();
  const running = (async () => {
    while (!stop.signal.aborted) await sleep((await task()) ? everyMs : RETRY_MS, stop.signal);
  })();
  return () => {
    stop.abort();
    return running;
  };
}
