import { errorCode, errorMessage, TollwayError } from '../errors.ts';
import { type Config, parseConfig } from './config.ts';
import { describeMisspelt, misspeltSettings } from './misspelt-settings.ts';

/**
 * As `parseConfig`, for a process that can log only after it has its settings: the error also names the misspelt settings, because one of them
 * can be the cause of a problem. Without an error, call `warnOfMisspelt`.
 */
export function parseSettings(env: Readonly<Record<string, string | undefined>>): Config {
  try {
    return parseConfig(env);
  } catch (error) {
    const misspelt = misspeltSettings(env);
    if (errorCode(error) !== 'bad_settings' || misspelt.length === 0) throw error;
    const message = [errorMessage(error), ...misspelt.map(describeMisspelt)].join('\n');
    throw new TollwayError('bad_settings', message, { cause: error });
  }
}
