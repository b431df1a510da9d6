import { type Config, parseConfig } from '../common/config.ts';
import { createEmbeddedMetrics, type EmbeddedMetrics } from '../common/embedded-metrics.ts';
import { TollwayError } from '../common/errors.ts';
import { createLogger } from '../common/logger.ts';
import { cutPool } from '../common/postgres.ts';
import { type Home, openHome } from './home.ts';

/** Longest wait for an answer of the database, in ms; then what was asked is asked again. */
const QUERY_MS_MAX = 15_000;

/** The home of the handler in a function, and how it is left in a hurry. */
export type FunctionRooms = Home<EmbeddedMetrics> & { readonly cut: () => Promise<void> };

/**
 * Opens a home in the function `name`. `databaseUrl` is what an earlier one had found out; without it the settings are asked,
 * and the secret that they may name. Throws `bad_settings`, with the function's name, or what the secret's store throws.
 */
export async function openFunction(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  databaseUrl?: string,
): Promise<FunctionRooms> {
  const config = parse(name, env);
  const logger = createLogger(name, { LOG_LEVEL: config.LOG_LEVEL, LOG_FORMAT: 'json' });
  const DATABASE_URL = databaseUrl ?? (await findDatabase(name, config));
  // One lane: a function is given one batch at a time, and its platform runs as many functions as it is told to.
  const home = openHome(
    name,
    { ...config, DATABASE_URL },
    { lanes: 1, connections: 1, queryMsMax: QUERY_MS_MAX },
    {
      logger,
      metrics: createEmbeddedMetrics(name),
      onInvariant: (err) => logger.fatal({ err }, err.message),
    },
  );
  return { ...home, cut: () => cutPool(home.pool) };
}

function parse(name: string, env: Readonly<Record<string, string | undefined>>): Config {
  try {
    return parseConfig(env);
  } catch (error) {
    if (!(error instanceof TollwayError)) throw error;
    throw new TollwayError(error.code, `${name}: ${error.message}`, { cause: error });
  }
}

async function findDatabase(name: string, { DATABASE_URL, DATABASE_SECRET }: Config): Promise<string> {
  if (DATABASE_URL === undefined) {
    const message = `${name}: DATABASE_URL: expected the database of the ledger, got nothing`;
    throw new TollwayError('bad_settings', message);
  }
  if (DATABASE_SECRET === undefined) return DATABASE_URL;
  const { withSecret } = await import('../common/database-secret.ts');
  return withSecret(DATABASE_URL, DATABASE_SECRET);
}
