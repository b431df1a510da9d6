import { createSources } from '../brokers/create-event-sources.ts';
import { counted } from '../common/counted.ts';
import { type OnShutdown, sleep } from '../common/process.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { serveOperations } from '../common/telemetry/operations-server.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { collectGauges } from './collect-gauges.ts';
import { runMaintenanceLoop } from './maintenance-loop.ts';
import type { Runtime } from './runtime.ts';

/** Time what was taken gets to be settled at the end, in ms. What is left comes again. */
const SETTLE_MS = 6_000;

/**
 * Charges what the broker brings until it is closed: does for a runtime what a platform does for a function. Keeps the ledger
 * too, and serves the operations port. Each resource is passed to `onShutdown`; `fail` hears why it cannot go on.
 */
export async function consume(
  runtime: Runtime<ProcessMetrics>,
  { onShutdown, fail }: { onShutdown: OnShutdown; fail: (error: unknown) => void },
): Promise<void> {
  const { config, pool, dispatcher, metrics, logger } = runtime;
  onShutdown({ name: 'database connections', close: () => pool.end() });
  const keeper = runMaintenanceLoop(runtime);
  onShutdown({ name: 'maintenance', close: keeper.stop });
  const sources = await createSources(config, pool, dispatcher, runtime);
  const gauges = collectGauges(runtime, sources);
  onShutdown({ name: 'gauges', close: gauges.stop });
  const operations = {
    component: 'processor',
    problems: () =>
      onePerThing([...[...sources.values()].flatMap((source) => source.problems()), ...gauges.problems()]),
    metrics: () => {
      gauges.refresh();
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
  onShutdown({
    name: 'event sources',
    close: async () => {
      const stop = () => Promise.all([...sources.values()].map((source) => source.stop()));
      await Promise.race([stop(), sleep(SETTLE_MS)]);
      dispatcher.abort();
      await stop();
    },
  });
  for (const source of sources.values()) keeper.ready.then(() => source.run()).catch(fail);
  const { BROKER: broker, PARALLELIZATION: lanes } = config;
  logger.info({ broker, lanes }, `Charging what ${broker} brings, ${counted(lanes, 'handler')} at work`);
}

/** Of several reasons for one thing that is affected, the first: the source of clicks knows more than the look at its gauges. */
function onePerThing(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.toReversed().map((problem) => [problem.what, problem])).values()].toReversed();
}
