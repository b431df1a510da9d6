import { TollwayError } from '../errors.ts';
import { createFunctionLogger } from '../telemetry/logger.ts';
import { type Config, parseConfig } from './config.ts';
import { describeMisspelt, misspeltSettings } from './misspelt-settings.ts';

/** Settings of a function. The database URL includes user and password. */
export type FunctionConfig = Config & { readonly DATABASE_URL: string };

/** The misspelt settings that this process has logged. A warm function reads its settings more than once. */
const loggedSettings = new Set<string>();

/**
 * Parses the settings of the function `name`, logs a warning for each misspelt one (once in a process), and reads the database secret if
 * one is set. Throws `bad_settings` with the function's name, `bad_secret`, or what the AWS SDK throws.
 */
export async function readFunctionConfig(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<FunctionConfig> {
  const config = parse(name, env);
  // Before the error of a missing setting: a misspelt name is its likely cause.
  warnOnce(name, config, env);
  const { DATABASE_URL, DATABASE_SECRET } = config;
  if (DATABASE_URL === undefined) {
    const message = `${name}: DATABASE_URL: expected the database of the ledger, got nothing`;
    throw new TollwayError('bad_settings', message);
  }
  if (DATABASE_SECRET === undefined) return { ...config, DATABASE_URL };
  const { withSecret } = await import('./database-secret.ts');
  return { ...config, DATABASE_URL: await withSecret(DATABASE_URL, DATABASE_SECRET) };
}

function warnOnce(name: string, config: Config, env: Readonly<Record<string, string | undefined>>): void {
  for (const misspelt of misspeltSettings(env)) {
    if (loggedSettings.has(misspelt.name)) continue;
    loggedSettings.add(misspelt.name);
    createFunctionLogger(name, config).warn(describeMisspelt(misspelt));
  }
}

function parse(name: string, env: Readonly<Record<string, string | undefined>>): Config {
  try {
    return parseConfig(env);
  } catch (error) {
    if (!(error instanceof TollwayError)) throw error;
    throw new TollwayError(error.code, `${name}: ${error.message}`, { cause: error });
  }
}
