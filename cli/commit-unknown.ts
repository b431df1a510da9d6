import { errorMessage, TollwayError } from '../common/errors.ts';
import { isCommitUnanswered } from '../common/postgres/postgres.ts';

const LOOK_AT_AUDIT_LOG =
  'Do not repeat the command before you have looked: `npx tollway audit list` shows the change if it was made';

/**
 * Returns an error of a change as a person needs it. If the commit got no answer, this is `commit_unknown`: the change may have been made, and
 * a person who repeats it could make it twice. `advice` says how to find out, or how to repeat it safely.
 */
export function explainCommit(error: unknown, advice = LOOK_AT_AUDIT_LOG): unknown {
  if (!isCommitUnanswered(error)) return error;
  return new TollwayError(
    'commit_unknown',
    `The database stopped answering during the commit, so the change may have been made: ${errorMessage(error)}. ${advice}`,
    { cause: error },
  );
}
