import { withDeadline } from './deadline.ts';
import { errorMessage } from './errors.ts';
import type { Pool } from './postgres/postgres.ts';
import { NEWEST_MIGRATION } from './postgres/schema.ts';

/** The health of a part: `ready`, or the problem, in one line. */
export type Health = string;

export const READY: Health = 'ready';
export const NO_ANSWER: Health = 'does not answer';
/** A standby, or a server with `default_transaction_read_only`. */
const READ_ONLY: Health = 'read-only: no click can be charged';
/** Another database than that of the ledger, or one that was not migrated. */
const NO_TABLES: Health = 'has no tables of Tollway: check DATABASE_URL, or run npm run migrate';
/** Longest wait for a part, in ms. */
const ANSWER_MS_MAX = 3_000;
/** Longest wait for the database, in ms. */
const DATABASE_ANSWER_MS_MAX = 2_000;

/** Queries `/readyz` of a part. A ready part can add warnings, such as a broker that accepts no clicks; it then counts as not ready. */
export async function queryPart(opsUrl: string): Promise<Health> {
  try {
    const response = await fetch(`${opsUrl}/readyz`, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return (await response.text()).trim().replaceAll('\n', ' ');
  } catch {
    return NO_ANSWER;
  }
}

/** The health of the database of a pool: `ready` if it answers, has the ledger of this version or a newer one, and clicks can be charged in it. */
export async function queryDatabase(pool: Pool): Promise<Health> {
  try {
    return await withDeadline(findHealth(pool), DATABASE_ANSWER_MS_MAX, 'The database');
  } catch (error) {
    return `${NO_ANSWER}: ${errorMessage(error)}`;
  }
}

async function findHealth(pool: Pool): Promise<Health> {
  const { rows } = await pool.query<{
    isReadOnly: boolean;
    hasLedger: boolean;
    canReadVersion: boolean | null;
  }>(
    `select current_setting('transaction_read_only') = 'on' as "isReadOnly", to_regclass('ledger') is not null as "hasLedger",
       has_table_privilege(to_regclass('schema_migration'), 'select') as "canReadVersion"`,
  );
  const [{ isReadOnly = false, hasLedger = false, canReadVersion = null } = {}] = rows;
  if (!hasLedger) return NO_TABLES;
  if (canReadVersion === true) {
    const { rows: newest } = await pool.query<{ name: string }>(
      'select name from schema_migration order by name desc limit 1',
    );
    const name = newest[0]?.name ?? 'no migration';
    if (name < NEWEST_MIGRATION) return `has tables of an older version (${name}): run npm run migrate`;
  }
  return isReadOnly ? READ_ONLY : READY;
}
