import cluster, { type Worker as ClusterWorker } from 'node:cluster';
import { type Config, parseConfig } from '../common/config/config.ts';
import { readEnvironment } from '../common/config/environment.ts';
import { warnOfMisspelt } from '../common/config/misspelt-settings.ts';
import { counted } from '../common/counted.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { isOutOfResources } from '../common/open-files.ts';
import { type OnShutdown, runProcess, sleep } from '../common/process.ts';
import { createLogger, type Logger } from '../common/telemetry/logger.ts';
import { AggregatorRegistry, createMetrics, type Registry } from '../common/telemetry/metrics.ts';
import { type OperationsAddress, serveOperations } from '../common/telemetry/operations-server.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { startWorker } from './worker.ts';

/** How often a worker tells the primary what is wrong with it, in ms; after five times that it counts as silent. */
const REPORT_MS = 1_000;

/** The metrics of a worker, in the form that prom-client adds up. */
type WorkerMetrics = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;
/** What a worker tells the primary, once in `REPORT_MS`. */
type Report = {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly metrics: WorkerMetrics;
};
type StartContext = { onShutdown: OnShutdown; fail: (error: unknown) => void; logger: Logger };

/** The usual ad server: one process that serves both ports. */
async function runAlone(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const metrics = createMetrics('ad server');
  const worker = await startWorker(config, { metrics, logger, onShutdown, fail });
  const operations = { component: 'ad server', ...worker, metrics: () => metrics.registry.metrics() };
  const ops = await serveOperations(operations, operationsAddress(config), { metrics, logger });
  onShutdown({ name: 'operations port', close: () => void ops.close() });
  logger.info({ port: worker.port, opsPort: config.AD_SERVER_OPS_PORT }, `Redirects on port ${worker.port}`);
}

/** One of several workers on one public port; the primary serves operations for them all. */
async function runWorker(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const metrics = createMetrics('ad server');
  const worker = await startWorker(config, { metrics, logger, onShutdown, fail });
  const report = async () => {
    const told: Report = {
      problems: worker.problems(),
      warnings: worker.warnings(),
      metrics: await metrics.registry.getMetricsAsJSON(),
    };
    if (process.connected) process.send?.(told);
  };
  await report();
  const timer = setInterval(() => void report(), REPORT_MS);
  onShutdown({ name: 'reports', close: () => clearInterval(timer) });
}

/** The primary of several workers: brings dead ones back, and answers for them on the operations port. */
async function runPrimary(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const reports = new Map<number, Report & { readonly at: number }>();
  let closing = false;
  let everReady = false;

  const fork = () => {
    const worker = cluster.fork();
    worker.on('message', (message: Report) => {
      everReady = true;
      reports.set(worker.id, { ...message, at: performance.now() });
    });
    // Without descriptors or memory for a child there is no process that could exit.
    worker.once('error', (error) => {
      if (!isOutOfResources(error)) return fail(error);
      logger.error({ problem: errorMessage(error) }, 'A worker could not be started and is started again');
      setTimeout(() => closing || fork(), REPORT_MS);
    });
    worker.once('exit', async (code, signal) => {
      reports.delete(worker.id);
      if (closing) return;
      // Before the first report nothing has ever worked: the worker has said why, and the next one would say it too.
      if (!everReady)
        return fail(
          new TollwayError('worker_failed', `A worker exited right after it started (${signal ?? code})`),
        );
      logger.error({ worker: worker.id, code, signal }, 'A worker died and is replaced');
      await sleep(500);
      if (!closing) fork();
    });
  };
  const isSilent = ({ at }: { at: number }) => performance.now() - at > 5 * REPORT_MS;
  const said = (kind: 'problems' | 'warnings') =>
    [...reports].flatMap(([id, report]) =>
      report[kind].map((problem) => ({ ...problem, what: `worker ${id}: ${problem.what}` })),
    );
  const problems = (): readonly Problem[] => {
    const silent = [...reports.values()].filter(isSilent).length;
    const missing = config.AD_SERVER_WORKERS - reports.size + silent;
    if (missing === 0) return said('problems');
    const all = config.AD_SERVER_WORKERS;
    const reason = `${counted(missing, `of ${all} does`, `of ${all} do`)} not answer`;
    return [{ what: 'workers', reason, forMs: 0 }, ...said('problems')];
  };
  // No worker is asked on a scrape: one that hangs would keep everybody waiting. What a silent one has counted stays true.
  const metrics = () => {
    const told = [...reports.values()].map((report) =>
      isSilent(report) ? report.metrics.filter(({ type }) => String(type) !== 'gauge') : report.metrics,
    );
    return AggregatorRegistry.aggregate(told).metrics();
  };
  const operations = { component: 'ad server', problems, warnings: () => said('warnings'), metrics };
  const ops = await serveOperations(operations, operationsAddress(config), { logger });
  onShutdown({ name: 'operations port', close: () => void ops.close() });
  onShutdown({
    name: 'workers',
    close: async () => {
      closing = true;
      const workers = Object.values(cluster.workers ?? {}).filter(
        (worker): worker is ClusterWorker => worker !== undefined,
      );
      await Promise.all(
        workers.map((worker) => {
          const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
          worker.process.kill('SIGTERM');
          return exited;
        }),
      );
    },
  });
  for (let count = 0; count < config.AD_SERVER_WORKERS; count += 1) fork();
  logger.info(
    { port: config.AD_SERVER_PORT },
    `Redirects on port ${config.AD_SERVER_PORT}, ${config.AD_SERVER_WORKERS} workers`,
  );
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
  const config = parseConfig(env);
  const logger = createLogger('ad-server', config);
  if (cluster.isPrimary) warnOfMisspelt(env, logger);
  const run = cluster.isWorker ? runWorker : config.AD_SERVER_WORKERS > 1 ? runPrimary : runAlone;
  await run(config, { onShutdown, fail, logger });
}, 'ad-server');
