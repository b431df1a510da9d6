import { TollwayError } from '../errors.ts';
import { type Config, parseConfig } from './config.ts';

/** Settings of a function, with a database and who it is to it. */
export type FunctionConfig = Config & { readonly DATABASE_URL: string };

/**
 * Reads the settings of the function `name`, and the secret they may name. Throws `bad_settings` or `bad_secret` with the
 * function's name, or what the secret's store throws.
 */
export async function readFunctionConfig(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<FunctionConfig> {
  const config = parse(name, env);
  const { DATABASE_URL, DATABASE_SECRET } = config;
  if (DATABASE_URL === undefined) {
    const message = `${name}: DATABASE_URL: expected the database of the ledger, got nothing`;
    throw new TollwayError('bad_settings', message);
  }
  if (DATABASE_SECRET === undefined) return { ...config, DATABASE_URL };
  const { withSecret } = await import('./database-secret.ts');
  return { ...config, DATABASE_URL: await withSecret(DATABASE_URL, DATABASE_SECRET) };
}

function parse(name: string, env: Readonly<Record<string, string | undefined>>): Config {
  try {
    return parseConfig(env);
  } catch (error) {
    if (!(error instanceof TollwayError)) throw error;
    throw new TollwayError(error.code, `${name}: ${error.message}`, { cause: error });
  }
}
