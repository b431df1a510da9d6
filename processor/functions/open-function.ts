import { type FunctionConfig, readFunctionConfig } from '../../common/config/function-config.ts';
import { terminatePool } from '../../common/postgres/postgres.ts';
import { createEmbeddedMetrics, type EmbeddedMetrics } from '../../common/telemetry/embedded-metrics.ts';
import { createFunctionLogger } from '../../common/telemetry/logger.ts';
import { createRuntime, type Runtime } from '../runtime.ts';

/** The runtime of the handler in a function. */
export type FunctionContext = Runtime<EmbeddedMetrics> & {
  /** Closes the database connection without waiting for its query. */
  readonly terminate: () => Promise<void>;
};

/**
 * Opens a runtime in the function `name`, with `earlierConfig` if given, so that the settings and the database secret are not read again.
 * Throws what `readFunctionConfig` throws.
 */
export async function openFunction(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  queryMsMax: number,
  earlierConfig: FunctionConfig | null,
): Promise<FunctionContext> {
  const config = earlierConfig ?? (await readFunctionConfig(name, env));
  const logger = createFunctionLogger(name, config);
  const runtime = createRuntime(name, config, {
    // The name of the deployed function tells two deployments in one account apart.
    metrics: createEmbeddedMetrics(env.AWS_LAMBDA_FUNCTION_NAME ?? name),
    logger,
    onInvariant: (err) => logger.fatal({ err }, err.message),
    // One lane: a function instance gets one batch at a time, and the platform runs several instances.
    lanes: 1,
    connections: 1,
    queryMsMax,
  });
  return { ...runtime, terminate: () => terminatePool(runtime.pool) };
}
