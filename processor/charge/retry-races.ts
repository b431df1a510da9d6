import { sleep } from '../../common/process.ts';

/** Maximum number of attempts of a transaction that loses races against others, before the caller gets the error. */
const ATTEMPTS_MAX = 5;
/** Code of Tollway's own error for a lost race. */
export const LOST_RACE = 'lost_race';
/** SQLSTATE of lost races: serialization failure, deadlock, another copy of the same click. */
const RACE_CODES = new Set(['40001', '40P01', '23505', LOST_RACE]);

/** Runs a transaction, and again if it lost a race against another one, at most `ATTEMPTS_MAX` times. `attempt` counts from 1. */
export async function retryRaces<T>(transact: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transact(attempt);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (attempt >= ATTEMPTS_MAX || typeof code !== 'string' || !RACE_CODES.has(code)) throw error;
      if (attempt > 1) await sleep(Math.random() * 10 * 2 ** attempt);
    }
  }
}
