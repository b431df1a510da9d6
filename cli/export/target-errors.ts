import { errorMessage, TollwayError } from '../../common/errors.ts';

/** Runs `work` on a file of a target, and names the file in its error. Throws `target_failed`. */
export async function onTarget<T>(
  verb: 'read' | 'write' | 'list',
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof TollwayError) throw cause;
    const message = `Expected to ${verb} ${name}, got "${errorMessage(cause)}". Run the export again: it continues after the last manifest`;
    throw new TollwayError('target_failed', message, { cause, retryable: true });
  }
}

/** The error of a target that another export has locked. */
export function targetInUse(name: string): TollwayError {
  return new TollwayError(
    'already_running',
    `Expected to be the only export to ${name}, got another one that is running`,
  );
}
