import { type FunctionConfig, readFunctionConfig } from '../../common/config/function-config.ts';
import { terminatePool } from '../../common/postgres/postgres.ts';
import { createEmbeddedMetrics, type EmbeddedMetrics } from '../../common/telemetry/embedded-metrics.ts';
import { createFunctionLogger } from '../../common/telemetry/logger.ts';
import { createRuntime, type Runtime } from '../runtime.ts';

/** The runtime of the handler in a function, and how to end it without waiting. */
export type FunctionRooms = Runtime<EmbeddedMetrics> & {
  /** What an earlier runtime has read, so that the next one does not read it again. */
  readonly known: FunctionConfig;
  readonly cut: () => Promise<void>;
};

/**
 * Opens a runtime in the function `name`: with the settings that an earlier one knew, or reading them anew. Throws what
 * `readFunctionConfig` throws.
 */
export async function openFunction(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  queryMsMax: number,
  earlier: FunctionConfig | null,
): Promise<FunctionRooms> {
  const known = earlier ?? (await readFunctionConfig(name, env));
  const logger = createFunctionLogger(name, known);
  const runtime = createRuntime(name, known, {
    // By the name that it was deployed under: two deployments in one account are told apart.
    metrics: createEmbeddedMetrics(env.AWS_LAMBDA_FUNCTION_NAME ?? name),
    logger,
    onInvariant: (err) => logger.fatal({ err }, err.message),
    // One lane: a function is given one batch at a time, and its platform runs as many functions as it is told to.
    lanes: 1,
    connections: 1,
    queryMsMax,
  });
  return { ...runtime, known, cut: () => terminatePool(runtime.pool) };
}
