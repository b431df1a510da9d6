import { databaseAnswers, type Pool } from './postgres/postgres.ts';

/** The health of a part: `ready`, or the problem, in one line. */
export type Health = string;

export const READY: Health = 'ready';
export const NO_ANSWER: Health = 'does not answer';
/** Longest wait for a part, in ms. */
const ANSWER_MS_MAX = 3_000;

/** Queries `/readyz` of a part. A ready part can add warnings, such as a broker that accepts no clicks; it then counts as not ready. */
export async function queryPart(opsUrl: string): Promise<Health> {
  try {
    const response = await fetch(`${opsUrl}/readyz`, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return (await response.text()).trim().replaceAll('\n', ' ');
  } catch {
    return NO_ANSWER;
  }
}

/** Whether the database of a pool answers. */
export async function queryDatabase(pool: Pool): Promise<Health> {
  return (await databaseAnswers(pool)) ? READY : NO_ANSWER;
}
