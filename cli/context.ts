import { Command } from 'commander';
import { type Config, parseConfig } from '../common/config/config.ts';
import { readEnvironment } from '../common/config/environment.ts';
import { TollwayError } from '../common/errors.ts';
import { createPool, type Pool } from '../common/postgres/postgres.ts';
import { printableLines } from '../common/text.ts';
import { AWS_SETTINGS, readStack, type Stack, stackOf } from './start/stack.ts';

/** Where a command works: the settings, and the stack that `npm start` runs or `DATABASE_URL` names. */
export type CliContext = { readonly config: Config; readonly stack: Stack };

/** Finds the place. Throws `no_stack` where neither a running stack nor `DATABASE_URL` is to be found. */
export function findPlace(): CliContext {
  const env = readEnvironment();
  const config = parseConfig(env);
  const running = readStack(config.DATA_DIR);
  if (running && (config.DATABASE_URL ?? running.databaseUrl) === running.databaseUrl) {
    for (const name of AWS_SETTINGS) {
      const value = running.settings[name];
      if (value !== undefined) process.env[name] ??= value;
    }
    return { config: parseConfig({ ...running.settings, ...env }), stack: running };
  }
  if (config.DATABASE_URL !== undefined) {
    return { config, stack: stackOf(config, config.DATABASE_URL, env) };
  }
  throw new TollwayError(
    'no_stack',
    `Tollway does not run on ${config.DATA_DIR}: run npm start first, or set DATABASE_URL`,
  );
}

/** Runs `work` with the database of the place. */
export async function withDatabase<T>(work: (pool: Pool, place: CliContext) => Promise<T>): Promise<T> {
  const place = findPlace();
  const pool = createPool(place.stack.databaseUrl, 'cli', 2, () => {});
  try {
    return await work(pool, place);
  } finally {
    await pool.end();
  }
}

/** A command with `--json` and examples in its `--help`. */
export function command(usage: string, description: string, examples: readonly string[]): Command {
  return new Command()
    .name(usage.split(' ')[0] ?? usage)
    .description(description)
    .option('--json', 'print JSON for scripts')
    .addHelpText('after', `\nExamples:\n${examples.map((example) => `  npx tollway ${example}\n`).join('')}`);
}

/** A command that only holds others. */
export function group(name: string, description: string, commands: readonly Command[]): Command {
  const parent = new Command(name).description(description);
  for (const child of commands) parent.addCommand(child);
  return parent;
}

/**
 * Escapes control characters in the usage errors of a program and of all its commands, because they repeat arguments that are wrong.
 * Commander does not pass the output of a program on to commands that are added.
 */
export function escapeUsageErrors(program: Command): void {
  program.configureOutput({ writeErr: (text) => process.stderr.write(printableLines(text)) });
  for (const child of program.commands) escapeUsageErrors(child);
}
