import { errorMessage } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';

/** Time between two attempts, in ms. */
const RETRY_MS = 20;

/**
 * Retries `work` until it succeeds or `waitMs` is over, because the first connection after a freeze can be broken. `work` resolves to `null`,
 * or to a problem, or throws. Resolves to `null` or to the last problem, and does not throw. An attempt in progress at the end continues: a
 * click that was sent and not confirmed can still arrive.
 */
export async function retryInTime(
  work: () => Promise<string | null>,
  waitMs: number,
  onError: (error: unknown) => void,
): Promise<string | null> {
  let problem: string | null = `no answer within ${waitMs} ms`;
  let isOver = false;
  const attempts = async () => {
    while (!isOver && problem !== null) {
      try {
        problem = await work();
      } catch (error) {
        onError(error);
        problem = errorMessage(error);
      }
      if (problem !== null) await sleep(RETRY_MS);
    }
  };
  await Promise.race([attempts(), sleep(waitMs)]);
  isOver = true;
  return problem;
}
