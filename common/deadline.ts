import { TollwayError } from './errors.ts';

/**
 * Rejects with `no_answer` if `answer` takes longer than `ms`. The work goes on by itself: the caller keeps the promise where it must
 * not be started twice. `who` begins the message: "Kafka", "The database".
 */
export function withDeadline<T>(answer: Promise<T>, ms: number, who: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `${who} did not answer within ${ms} ms`;
    timer = setTimeout(() => reject(new TollwayError('no_answer', message, { retryable: true })), ms);
  });
  // Whoever gave up hears nothing of a late failure.
  answer.catch(() => {});
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}
