import { errorCode } from '../errors.ts';

/** The newest migration, which all parts of this version need; a test compares it with `migrations/`. */
export const NEWEST_MIGRATION = '0011_advertiser_clicks';

const UNDEFINED_TABLE = '42P01';
const UNDEFINED_COLUMN = '42703';

/** Whether a statement named a table or column that the database lacks: it is another database, or it is not migrated. */
export function isSchemaMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === UNDEFINED_TABLE || code === UNDEFINED_COLUMN;
}
