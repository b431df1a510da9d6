import { TollwayError } from './errors.ts';

/**
 * Rejects with `no_answer` if `answer` takes longer than `ms`. The work itself is not cancelled: a caller that must not start it twice has
 * to keep the promise. `server` begins the message, such as "Kafka" or "The database".
 */
export function withDeadline<T>(answer: Promise<T>, ms: number, server: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const message = `${server} did not answer within ${ms} ms`;
    timer = setTimeout(() => reject(new TollwayError('no_answer', message, { retryable: true })), ms);
  });
  // A rejection after the deadline has no other handler and would end the process.
  answer.catch(() => {});
  return Promise.race([answer, timeout]).finally(() => clearTimeout(timer));
}
