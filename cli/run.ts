import { CommanderError } from 'commander';
import { errorMessage } from '../common/errors.ts';
import { isDatabaseUnavailable } from '../common/postgres/postgres.ts';
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
      const message = errorMessage(error);
      printNote(
        isDatabaseUnavailable(error)
          ? `The database does not answer: ${message}. Run npm start, or check DATABASE_URL and the server`
          : message,
      );
    }
    process.exitCode = 1;
  }
}
