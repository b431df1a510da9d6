import { userInfo } from 'node:os';
import { Command, Option } from 'commander';
import { type Config, parseConfig } from '../common/config/config.ts';
import { readEnvironment } from '../common/config/environment.ts';
import { TollwayError } from '../common/errors.ts';
import { type Connection, createPool, type Pool } from '../common/postgres/postgres.ts';
import { printableLines } from '../common/text.ts';
import { recordAudit } from '../ledger/access/audit-log.ts';
import { type Actor, changeAs } from '../ledger/actor.ts';
import { explainCommit } from './commit-unknown.ts';
import { watchDatabase } from './database-watch.ts';
import { followSessions } from './lock-wait.ts';
import type { Format } from './print.ts';
import { AWS_SETTINGS, readStack, type Stack, stackOf } from './start/stack.ts';

/** What a command works on: the settings, and the stack that `npm start` runs or `DATABASE_URL` names. */
export type CliContext = { readonly config: Config; readonly stack: Stack };

/** Finds the running stack or the database of the settings. Throws `no_stack` if there is neither. */
export function findContext(): CliContext {
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
    `Expected a running stack in ${config.DATA_DIR} or DATABASE_URL, got neither: run npm start first, or set DATABASE_URL`,
  );
}

/** Runs `work` with a pool of the database, and closes the pool. Says so while the database does not answer or a lock is waited for. */
export async function withDatabase<T>(work: (pool: Pool, context: CliContext) => Promise<T>): Promise<T> {
  const context = findContext();
  const pool = createPool(context.stack.databaseUrl, 'cli', 2, () => {});
  const stopWatch = watchDatabase(context.stack.databaseUrl, followSessions(pool));
  try {
    return await work(pool, context);
  } finally {
    await pool.end();
    stopWatch();
  }
}

/**
 * Runs `work` in one transaction whose changes are recorded as those of the user, and commits it. Print its result afterwards. Throws
 * `commit_unknown` if the commit got no answer; `advice` then says what to do, instead of looking at the audit log.
 */
export function withChange<T>(
  work: (connection: Connection, context: CliContext) => Promise<T>,
  advice?: string,
): Promise<T> {
  return withDatabase((pool, context) =>
    changeAs(pool, cliActor(), (connection) => work(connection, context)).catch((error: unknown) => {
      throw explainCommit(error, advice);
    }),
  );
}

/**
 * Records what the user is about to do, for work that is not one transaction. Call it before the work, in case the process dies during it.
 */
export function recordIntent(pool: Pool, entry: Parameters<typeof recordAudit>[1]): Promise<void> {
  return changeAs(pool, cliActor(), (connection) => recordAudit(connection, entry));
}

/** The user of the operating system who runs the command line; `uid <n>` for one without a name, as in some containers. */
export function cliActor(): Actor {
  try {
    return { type: 'cli', user: userInfo().username };
  } catch {
    return { type: 'cli', user: `uid ${process.getuid?.() ?? 'unknown'}` };
  }
}

/**
 * Creates a command whose `--help` ends with examples. `exitCode1` completes the sentence "Exit code 1 if …" for a command that exits
 * with 1 for other reasons than an error.
 */
export function plainCommand(
  name: string,
  description: string,
  examples: readonly string[],
  exitCode1?: string,
): Command {
  const exit = exitCode1 === undefined ? '' : `\nExit code 1 if ${exitCode1}.\n`;
  const shown = examples.map((example) => `  npx tollway ${example}\n`).join('');
  return new Command(name).description(description).addHelpText('after', `${exit}\nExamples:\n${shown}`);
}

/** The options that every command of `command` and `rowsCommand` has. */
export type Output = { readonly format: Format };

/** Creates a command with `--format table` (lines for a person) or `json`, and `--json`. */
export function command(...how: Parameters<typeof plainCommand>): Command {
  return withFormats(plainCommand(...how), ['table', 'json']);
}

/** Creates a command whose result is rows: `--format` can also be `csv`. */
export function rowsCommand(...how: Parameters<typeof plainCommand>): Command {
  return withFormats(plainCommand(...how), ['table', 'csv', 'json']);
}

function withFormats(made: Command, formats: readonly Format[]): Command {
  const names = formats.map((format) => `\`${format}\``).join(', ');
  return made
    .addOption(
      new Option('--format <format>', `how the result is printed: ${names}`)
        .choices(formats)
        .default('table' satisfies Format),
    )
    .addOption(
      new Option('--json', 'short form of --format json').implies({ format: 'json' satisfies Format }),
    );
}

/** Creates a command that only groups others. */
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
