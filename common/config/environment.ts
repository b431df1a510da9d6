import { existsSync } from 'node:fs';

/** The environment, with what a file `.env` in the working directory adds to it. For entry files alone. */
export function readEnvironment(): NodeJS.ProcessEnv {
  if (existsSync('.env')) process.loadEnvFile('.env');
  return process.env;
}
