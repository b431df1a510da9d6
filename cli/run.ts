import { CommanderError } from 'commander';
import { errorCode, errorMessage } from '../common/errors.ts';
import { isDatabaseUnavailable, isSqlState } from '../common/postgres/postgres.ts';
import { isSchemaMissing } from '../common/postgres/schema.ts';
import { printNote } from './print.ts';
import { loadProgram } from './program.ts';

/** Runs `tollway` with arguments. After an error it prints the message and sets exit code 1. */
export async function run(args: readonly string[]): Promise<void> {
  // A reader that closes the pipe early, such as `head`, is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  try {
    const program = await loadProgram(args);
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      printNote(explain(error));
    }
    process.exitCode = 1;
  }
}

/** SQLSTATE of a statement that would write, in a database that is read-only. */
const READ_ONLY = '25006';
/** SQLSTATE of a statement that has waited too long for a lock. */
const LOCK_NOT_AVAILABLE = '55P03';

/** SQLSTATE of a statement for which the role lacks a right. */
const INSUFFICIENT_PRIVILEGE = '42501';
/** SQLSTATEs of a server that refuses the user, the password or the database. */
const WRONG_URL = /^(28|3D)/;
/** SQLSTATEs of a server that takes no connection now: too many, no memory or disk, starting up. */
const NO_ROOM = /^(53|57P03)/;

/** The message of an error, with what to do if it is about the database and not about the command. */
function explain(error: unknown): string {
  const message = errorMessage(error);
  const code = errorCode(error) ?? '';
  if (isSqlState(code) && WRONG_URL.test(code))
    return `The database refuses the connection: ${message}. Check the user, the password and the name of the database in DATABASE_URL`;
  if (isSqlState(code) && NO_ROOM.test(code))
    return `The database refuses the connection: ${message}. Try again, or check the server`;
  if (isDatabaseUnavailable(error))
    return `The database does not answer: ${message}. Run npm start, or check DATABASE_URL and the server`;
  if (isSchemaMissing(error))
    return `The database lacks a table, column or function of the ledger: ${message}. Check DATABASE_URL, or run npm run migrate`;
  switch (code) {
    case READ_ONLY:
      return `The database is read-only: ${message}. Check whether DATABASE_URL names a standby, or default_transaction_read_only is set`;
    case INSUFFICIENT_PRIVILEGE:
      return `The role of DATABASE_URL may not do this: ${message}. Use the role of the command line, or grant it its rights: docs/running.md#database`;
    case LOCK_NOT_AVAILABLE:
      return `Another session locks what this command needs: ${message}. Try again, or end that session: docs/runbook.md#tollwaysettlementblocked`;
    default:
      return message;
  }
}
