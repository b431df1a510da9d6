import { readEnvironment } from '../common/config/environment.ts';
import { warnOfMisspelt } from '../common/config/misspelt-settings.ts';
import { parseSettings } from '../common/config/parse-settings.ts';
import { runProcess } from '../common/process.ts';
import { createLogger } from '../common/telemetry/logger.ts';
import { createMetrics } from '../common/telemetry/metrics.ts';
import { serveConsole } from './serve.ts';

const name = 'console';

/** Serves the HTTP API until the process is stopped. */
await runProcess(async (onShutdown) => {
  const env = readEnvironment();
  const config = parseSettings(env);
  const logger = createLogger(name, config);
  warnOfMisspelt(env, logger);
  await serveConsole(config, { metrics: createMetrics(name), logger, onShutdown });
}, name);
