import { errorCode } from '../common/errors.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import { rollUp } from './rollup.ts';

/** Errors of a role or a server that may not write: reports are then as of the last run of a processor. */
const READ_ONLY = new Set(['42501', '25006', 'replica']);

const runs = new WeakMap<Pool, Promise<void>>();

/**
 * Adds to the rollup what was settled since the last run, before a report or a statement. Calls at the same time share a run, so that many
 * reports do not wait for each other.
 */
export function bringUpToDate(pool: Pool): Promise<void> {
  const running = runs.get(pool);
  if (running) return running;
  const run = addNew(pool).finally(() => runs.delete(pool));
  runs.set(pool, run);
  return run;
}

async function addNew(pool: Pool): Promise<void> {
  try {
    await rollUp(pool);
  } catch (error) {
    if (!READ_ONLY.has(errorCode(error) ?? '')) throw error;
  }
}
