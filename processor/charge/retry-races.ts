import { sleep } from '../../common/process.ts';

/** Maximum number of attempts of a transaction that loses races against others, before the caller gets the error. */
const RACES_MAX = 5;
/** Code of Tollway's own error for a lost race. */
export const LOST_RACE = 'lost_race';
/** SQLSTATE of lost races: serialization failure, deadlock, another copy of the same click. */
const RACE_CODES = new Set(['40001', '40P01', '23505', LOST_RACE]);

/** Repeats a transaction that lost a race against another one, at most `RACES_MAX` attempts. `race` counts from 1. */
export async function retryRaces<T>(transact: (race: number) => Promise<T>): Promise<T> {
  for (let race = 1; ; race += 1) {
    try {
      return await transact(race);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (race >= RACES_MAX || typeof code !== 'string' || !RACE_CODES.has(code)) throw error;
      if (race > 1) await sleep(Math.random() * 10 * 2 ** race);
    }
  }
}
