import type { Pool } from '../common/postgres/postgres.ts';
import { refreshRollup } from '../ledger/reports/refresh-rollup.ts';
import { printNote } from './print.ts';

/** Brings the sums of reports and statements up to date, or prints why they are as of an earlier time. */
export async function updateSums(pool: Pool): Promise<void> {
  const problem = await refreshRollup(pool);
  if (problem !== null)
    printNote(`The sums are as of an earlier time, because they cannot be updated: ${problem}`);
}
