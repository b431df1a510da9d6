import { createSources } from '../brokers/create-event-sources.ts';
import { counted } from '../common/counted.ts';
import { type OnShutdown, sleep } from '../common/process.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { serveOperations } from '../common/telemetry/operations-server.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { flushTraces } from '../common/telemetry/tracing.ts';
import { createPartReporter } from '../ledger/operations/part-reporter.ts';
import { collectGauges } from './collect-gauges.ts';
import { runMaintenanceLoop } from './maintenance-loop.ts';
import { processorNumbers } from './part-numbers.ts';
import { runRollupLoop } from './rollup-loop.ts';
import type { Runtime } from './runtime.ts';

/** Time to settle the records that were read, at shutdown, in ms. The others are read again after a restart. */
const SETTLE_MS = 6_000;

/**
 * Charges the clicks of the broker until shutdown, maintains the ledger and serves the operations port. Passes each resource to
 * `onShutdown`, and errors that must end the process to `fail`.
 */
export async function consume(
  runtime: Runtime<ProcessMetrics>,
  { onShutdown, fail }: { onShutdown: OnShutdown; fail: (error: unknown) => void },
): Promise<void> {
  const { config, pool, dispatcher, metrics, logger } = runtime;
  const reporter = createPartReporter('processor', {
    databaseUrl: config.DATABASE_URL,
    opsPort: config.PROCESSOR_OPS_PORT,
    logger,
  });
  // Closed last, so that the processor reports while it shuts down.
  onShutdown({ name: 'reports of the part', close: reporter.stop });
  onShutdown({ name: 'traces', close: flushTraces });
  onShutdown({ name: 'database connections', close: () => pool.end() });
  const maintenance = runMaintenanceLoop(runtime);
  onShutdown({ name: 'maintenance', close: maintenance.stop });
  const rollup = runRollupLoop(runtime);
  onShutdown({ name: 'rollup', close: rollup.stop });
  const sources = await createSources(config, pool, dispatcher, runtime);
  const gauges = collectGauges(runtime, sources);
  onShutdown({ name: 'gauges', close: gauges.stop });
  const problems = () =>
    firstOfEach([...[...sources.values()].flatMap((source) => source.problems()), ...gauges.problems()]);
  const operations = {
    component: 'processor',
    problems,
    metrics: async () => {
      await gauges.refresh();
      return metrics.registry.metrics();
    },
  };
  const address = {
    port: config.PROCESSOR_OPS_PORT,
    host: config.OPS_HOST,
    setting: 'PROCESSOR_OPS_PORT',
    allowedHosts: config.OPS_ALLOWED_HOSTS,
  };
  const ops = await serveOperations(operations, address, {
    metrics,
    logger,
  });
  onShutdown({ name: 'operations port', close: () => void ops.close() });
  reporter.start({ problems, numbers: processorNumbers(runtime, gauges) });
  onShutdown({
    name: 'event sources',
    close: async () => {
      const stop = () => Promise.all([...sources.values()].map((source) => source.stop()));
      await Promise.race([stop(), sleep(SETTLE_MS)]);
      dispatcher.abort();
      await stop();
    },
  });
  for (const source of sources.values()) maintenance.ready.then(() => source.run()).catch(fail);
  const { BROKER: broker, PARALLELIZATION: lanes } = config;
  logger.info({ broker, lanes }, `Charging clicks from ${broker} in ${counted(lanes, 'lane')}`);
}

/** The first problem of each broker or database: the reason that a source gives is more exact than that of its gauges. */
function firstOfEach(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.toReversed().map((problem) => [problem.what, problem])).values()].toReversed();
}
