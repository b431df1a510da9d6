import { CommanderError } from 'commander';
import { errorCode, errorMessage } from '../common/errors.ts';
import { isDatabaseUnavailable } from '../common/postgres/postgres.ts';
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

/** The message of an error, with what to do if it is about the database and not about the command. */
function explain(error: unknown): string {
  const message = errorMessage(error);
  if (isDatabaseUnavailable(error))
    return `The database does not answer: ${message}. Run npm start, or check DATABASE_URL and the server`;
  if (isSchemaMissing(error))
    return `The database lacks a table, column or function of the ledger: ${message}. Check DATABASE_URL, or run npm run migrate`;
  switch (errorCode(error)) {
    case READ_ONLY:
      return `The database is read-only: ${message}. Check whether DATABASE_URL names a standby, or default_transaction_read_only is set`;
    case LOCK_NOT_AVAILABLE:
      return `Another session locks what this command needs: ${message}. Try again, or end that session: docs/runbook.md#tollwaysettlementblocked`;
    default:
      return message;
  }
}
