import type { Config } from '../common/config/config.ts';
import { errorCode, TollwayError } from '../common/errors.ts';
import { breakConnections, createPool, type Pool } from '../common/postgres/postgres.ts';
import type { OnShutdown } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { serveOperations } from '../common/telemetry/operations-server.ts';
import { createPartReporter } from '../ledger/operations/part-reporter.ts';
import { createApp } from './api/app.ts';
import type { App } from './api/deps.ts';
import { LONG_REQUESTS_MAX } from './api/long-requests.ts';
import { consoleNumbers } from './part-numbers.ts';
import { runReconciliationGauges } from './tasks/reconciliation-gauges.ts';
import { startTasks } from './tasks/start-tasks.ts';
import { watchDatabase } from './watch-database.ts';
import { startWebhooks } from './webhooks/start-webhooks.ts';

const CONNECTIONS = 10;
/** Longest wait for a connection, in ms: without a database, an answer must come within 2 s. */
const CONNECT_MS_MAX = 1_500;
/** Longest query, in ms. Reports of a large ledger take seconds. */
const QUERY_MS_MAX = 60_000;
/** Time in which the server says that it has ended a query that took too long, in ms. */
const CANCEL_MS = 5_000;

type ConsoleDeps = {
  readonly metrics: ProcessMetrics;
  readonly logger: Logger;
  readonly onShutdown: OnShutdown;
};

/** Serves the HTTP API and the operations port of the console until shutdown. Throws `bad_settings` without `DATABASE_URL`, `port_taken`. */
export async function serveConsole(
  config: Config,
  { metrics, logger, onShutdown }: ConsoleDeps,
): Promise<void> {
  const { DATABASE_URL } = config;
  if (DATABASE_URL === undefined)
    throw new TollwayError('bad_settings', 'DATABASE_URL: expected the database of the ledger, got nothing');
  const reporter = createPartReporter('console', {
    databaseUrl: DATABASE_URL,
    opsPort: config.CONSOLE_OPS_PORT,
    logger,
  });
  // Closed last, so that the console reports while it shuts down.
  onShutdown({ name: 'reports of the part', close: reporter.stop });
  const pool = createConsolePool(DATABASE_URL, logger);
  onShutdown({ name: 'database connections', close: () => pool.end() });
  const longPool = createLongPool(DATABASE_URL, logger);
  onShutdown({ name: 'database connections of long requests', close: () => longPool.end() });
  const rule = config.WEBHOOK_PRIVATE_TARGETS === 'on' ? 'private' : 'public';
  const webhooks = startWebhooks({ databaseUrl: DATABASE_URL, rule, metrics, logger });
  onShutdown({ name: 'webhooks', close: webhooks.stop });
  const tasks = startTasks(DATABASE_URL, config, logger);
  onShutdown({ name: 'periodic tasks', close: tasks.stop });
  const reconciliation = runReconciliationGauges(DATABASE_URL, metrics, logger);
  onShutdown({ name: 'metrics of the reconciliation', close: reconciliation.stop });
  const database = watchDatabase(DATABASE_URL, logger, () => {
    breakConnections(pool);
    breakConnections(longPool);
  });
  onShutdown({ name: 'database watch', close: database.stop });
  const operations = {
    component: 'console',
    // Without a database the console still answers, with the reason, so a proxy must not take it out of service.
    problems: () => [],
    warnings: database.problems,
    metrics: () => metrics.registry.metrics(),
  };
  const address = {
    port: config.CONSOLE_OPS_PORT,
    host: config.OPS_HOST,
    setting: 'CONSOLE_OPS_PORT',
    allowedHosts: config.OPS_ALLOWED_HOSTS,
  };
  const app = await createApp({
    pool,
    longPool,
    config,
    metrics,
    logger,
    reportingState: reporter.reportingState,
  });
  await listen(app, config);
  onShutdown({ name: 'API port', close: () => app.close() });
  const ops = await serveOperations(operations, address, { metrics, logger });
  onShutdown({ name: 'operations port', close: () => void ops.close() });
  reporter.start({ ...operations, numbers: consoleNumbers(metrics) });
  logger.info(`The HTTP API listens on http://${config.CONSOLE_HOST}:${config.CONSOLE_PORT}`);
}

/** Creates the pool of the API. While the database does not answer, a request fails within 2 s: `watchDatabase` breaks its connection. */
export function createConsolePool(url: string, logger: Logger): Pool {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  return createPool(url, 'console', CONNECTIONS, onError, QUERY_MS_MAX, CONNECT_MS_MAX);
}

/**
 * Creates the pool of the requests that can take minutes, such as exports. The server ends each query after a minute, so that one whose client
 * has gone does not go on; an export reads with many short ones.
 */
export function createLongPool(url: string, logger: Logger): Pool {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const answerMs = QUERY_MS_MAX + CANCEL_MS;
  return createPool(url, 'console long', LONG_REQUESTS_MAX, onError, answerMs, CONNECT_MS_MAX, QUERY_MS_MAX);
}

async function listen(app: App, { CONSOLE_HOST: host, CONSOLE_PORT: port }: Config): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    const reason = errorCode(cause) === 'EADDRINUSE' ? 'is taken' : `cannot be used (${errorCode(cause)})`;
    throw new TollwayError('port_taken', `CONSOLE_PORT: ${host}:${port} ${reason}`, { cause });
  }
}
