import { readEnvironment } from '../common/config/environment.ts';
import { warnOfMisspelt } from '../common/config/misspelt-settings.ts';
import { parseSettings } from '../common/config/parse-settings.ts';
import { runProcess } from '../common/process.ts';
import { createLogger } from '../common/telemetry/logger.ts';
import { createMetrics } from '../common/telemetry/metrics.ts';
import { consume } from './consume.ts';
import { createRuntime } from './runtime.ts';

const name = 'processor';

/** Charges the clicks of the broker until the process is stopped. */
await runProcess(async (onShutdown, fail) => {
  const env = readEnvironment();
  const config = parseSettings(env);
  const logger = createLogger(name, config);
  warnOfMisspelt(env, logger);
  const runtime = createRuntime(name, config, { metrics: createMetrics(name), logger, onInvariant: fail });
  await consume(runtime, { onShutdown, fail });
}, name);
