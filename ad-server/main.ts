import cluster from 'node:cluster';
import type { Config } from '../common/config/config.ts';
import { readEnvironment } from '../common/config/environment.ts';
import { warnOfMisspelt } from '../common/config/misspelt-settings.ts';
import { parseSettings } from '../common/config/parse-settings.ts';
import { type OnShutdown, runProcess } from '../common/process.ts';
import { createLogger, type Logger } from '../common/telemetry/logger.ts';
import { createMetrics } from '../common/telemetry/metrics.ts';
import { type OperationsAddress, serveOperations } from '../common/telemetry/operations-server.ts';
import { createPartReporter, type PartReporter } from '../ledger/operations/part-reporter.ts';
import { adServerNumbers } from './part-numbers.ts';
import { startWorker } from './worker.ts';
import { WorkerProcesses } from './worker-processes.ts';
import { REPORT_MS, type WorkerReport, WorkerReports } from './worker-reports.ts';

type StartContext = { onShutdown: OnShutdown; fail: (error: unknown) => void; logger: Logger };

/** An ad server with `AD_SERVER_WORKERS=1`: one process that serves both ports. */
async function runAlone(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const reporter = createReporter(config, { onShutdown, logger });
  const metrics = createMetrics('ad server');
  const worker = await startWorker(config, { metrics, logger, onShutdown, fail });
  const operations = { component: 'ad server', ...worker, metrics: () => metrics.registry.metrics() };
  const ops = await serveOperations(operations, operationsAddress(config), { metrics, logger });
  onShutdown({ name: 'operations port', close: () => void ops.close() });
  reporter?.start({ ...worker, numbers: adServerNumbers(() => metrics.registry, config) });
  logger.info({ port: worker.port, opsPort: config.AD_SERVER_OPS_PORT }, `Redirects on port ${worker.port}`);
}

/** One of several workers on the public port. The primary serves the operations port. */
async function runWorker(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const metrics = createMetrics('ad server');
  const worker = await startWorker(config, { metrics, logger, onShutdown, fail });
  const report = async () => {
    const message: WorkerReport = {
      problems: worker.problems(),
      warnings: worker.warnings(),
      metrics: await metrics.registry.getMetricsAsJSON(),
    };
    if (process.connected) process.send?.(message);
  };
  await report();
  const timer = setInterval(() => void report(), REPORT_MS);
  onShutdown({ name: 'reports', close: () => clearInterval(timer) });
}

/** The primary of several workers: replaces workers that exit, and serves the operations port for all of them. */
async function runPrimary(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const { AD_SERVER_WORKERS: workerCount, AD_SERVER_PORT: port } = config;
  const reporter = createReporter(config, { onShutdown, logger });
  const reports = new WorkerReports(workerCount);
  const { problems, warnings, metrics } = reports;
  const operations = { component: 'ad server', problems, warnings, metrics };
  const ops = await serveOperations(operations, operationsAddress(config), { logger });
  onShutdown({ name: 'operations port', close: () => void ops.close() });
  const workers = new WorkerProcesses(reports, logger, fail);
  onShutdown({ name: 'workers', close: () => workers.close() });
  for (let count = 0; count < workerCount; count += 1) workers.start();
  reporter?.start({ problems, warnings, numbers: adServerNumbers(reports.registry, config) });
  logger.info({ port }, `Redirects on port ${port}, ${workerCount} workers`);
}

/** Closed last, so that the ad server reports while it shuts down. `null` without a database: the start then fails with the reason. */
function createReporter(
  config: Config,
  { onShutdown, logger }: Pick<StartContext, 'onShutdown' | 'logger'>,
): PartReporter<'ad-server'> | null {
  const { DATABASE_URL: databaseUrl, AD_SERVER_OPS_PORT: opsPort } = config;
  if (databaseUrl === undefined) return null;
  const reporter = createPartReporter('ad-server', { databaseUrl, opsPort, logger });
  onShutdown({ name: 'reports of the part', close: reporter.stop });
  return reporter;
}

function operationsAddress(config: Config): OperationsAddress {
  return {
    port: config.AD_SERVER_OPS_PORT,
    host: config.OPS_HOST,
    setting: 'AD_SERVER_OPS_PORT',
    allowedHosts: config.OPS_ALLOWED_HOSTS,
  };
}

await runProcess(async (onShutdown, fail) => {
  const env = readEnvironment();
  const config = parseSettings(env);
  const logger = createLogger('ad-server', config);
  if (cluster.isPrimary) warnOfMisspelt(env, logger);
  const run = cluster.isWorker ? runWorker : config.AD_SERVER_WORKERS > 1 ? runPrimary : runAlone;
  await run(config, { onShutdown, fail, logger });
}, 'ad-server');
