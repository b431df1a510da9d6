import { errorCode, errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { rollUp } from './rollup.ts';

/** Errors of a role or a server that may not write: reports are then as of the last run of a processor. */
const READ_ONLY = new Set(['42501', '25006', 'replica']);

const runs = new WeakMap<Pool, Promise<string | null>>();

/**
 * Adds to the rollup what was settled since the last run, before a report or a statement. Calls at the same time share a run, so that many
 * reports do not wait for each other. Returns why the rollup stays as of an earlier run, because the database server does not know the time
 * zone of an advertiser: it must not keep others from their reports. Otherwise `null`.
 */
export function refreshRollup(pool: Pool): Promise<string | null> {
  const running = runs.get(pool);
  if (running) return running;
  const run = addNew(pool).finally(() => runs.delete(pool));
  runs.set(pool, run);
  return run;
}

async function addNew(pool: Pool): Promise<string | null> {
  try {
    await rollUp(pool);
  } catch (error) {
    const code = errorCode(error) ?? '';
    if (code === 'bad_time_zone') return errorMessage(error);
    if (!READ_ONLY.has(code)) throw error;
  }
  return null;
}
