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

/** Time between two reports of a worker to the primary, in ms. After five times that without a report, it does not count as ready. */
const REPORT_MS = 1_000;

/** The metrics of a worker, in the form that prom-client aggregates. */
type WorkerMetrics = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;
/** What a worker sends to the primary every `REPORT_MS`. */
type Report = {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly metrics: WorkerMetrics;
};
type StartContext = { onShutdown: OnShutdown; fail: (error: unknown) => void; logger: Logger };

/** An ad server with `AD_SERVER_WORKERS=1`: one process that serves both ports. */
async function runAlone(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const metrics = createMetrics('ad server');
  const worker = await startWorker(config, { metrics, logger, onShutdown, fail });
  const operations = { component: 'ad server', ...worker, metrics: () => metrics.registry.metrics() };
  const ops = await serveOperations(operations, operationsAddress(config), { metrics, logger });
  onShutdown({ name: 'operations port', close: () => void ops.close() });
  logger.info({ port: worker.port, opsPort: config.AD_SERVER_OPS_PORT }, `Redirects on port ${worker.port}`);
}

/** One of several workers on the public port. The primary serves the operations port. */
async function runWorker(config: Config, { onShutdown, fail, logger }: StartContext): Promise<void> {
  const metrics = createMetrics('ad server');
  const worker = await startWorker(config, { metrics, logger, onShutdown, fail });
  const report = async () => {
    const message: Report = {
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
  const reports = new Map<number, Report & { readonly at: number }>();
  let closing = false;
  let everReady = false;

  const fork = () => {
    const worker = cluster.fork();
    worker.on('message', (message: Report) => {
      everReady = true;
      reports.set(worker.id, { ...message, at: performance.now() });
    });
    // Without free descriptors or memory no process is started, so there is no exit event.
    worker.once('error', (error) => {
      if (!isOutOfResources(error)) return fail(error);
      logger.error(
        { problem: errorMessage(error) },
        'A worker could not be started. The ad server tries again. Check memory and open files (ulimit -n)',
      );
      setTimeout(() => closing || fork(), REPORT_MS);
    });
    worker.once('exit', async (code, signal) => {
      reports.delete(worker.id);
      if (closing) return;
      // Without a report from any worker, a new one would fail too. The worker has written the reason.
      if (!everReady)
        return fail(
          new TollwayError('worker_failed', `A worker exited right after it started (${signal ?? code})`),
        );
      logger.error(
        { worker: worker.id, code, signal },
        'A worker has exited. The ad server replaces it, and its spool is adopted',
      );
      await sleep(500);
      if (!closing) fork();
    });
  };
  const isSilent = ({ at }: { at: number }) => performance.now() - at > 5 * REPORT_MS;
  const reported = (kind: 'problems' | 'warnings') =>
    [...reports].flatMap(([id, report]) =>
      report[kind].map((problem) => ({ ...problem, what: `worker ${id}: ${problem.what}` })),
    );
  const problems = (): readonly Problem[] => {
    const silent = [...reports.values()].filter(isSilent).length;
    const missing = config.AD_SERVER_WORKERS - reports.size + silent;
    if (missing === 0) return reported('problems');
    const all = config.AD_SERVER_WORKERS;
    const reason = `${counted(missing, `of ${all} does`, `of ${all} do`)} not answer`;
    return [{ what: 'workers', reason, forMs: 0 }, ...reported('problems')];
  };
  // Uses the latest reports, because a worker that hangs would delay a scrape. Counters of a silent worker stay valid, gauges do not.
  const metrics = () => {
    const perWorker = [...reports.values()].map((report) =>
      isSilent(report) ? report.metrics.filter(({ type }) => String(type) !== 'gauge') : report.metrics,
    );
    return AggregatorRegistry.aggregate(perWorker).metrics();
  };
  const operations = { component: 'ad server', problems, warnings: () => reported('warnings'), metrics };
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
