import { errorCode } from '../errors.ts';

/** The newest migration, which all parts of this version need; a test compares it with `migrations/`. */
export const NEWEST_MIGRATION = '0011_advertiser_clicks';

const UNDEFINED_TABLE = '42P01';
const UNDEFINED_COLUMN = '42703';
const UNDEFINED_FUNCTION = '42883';

/** Whether a statement named a table, column or function that the database lacks: it is another database, or it is not migrated. */
export function isSchemaMissing(error: unknown): boolean {
  return [UNDEFINED_TABLE, UNDEFINED_COLUMN, UNDEFINED_FUNCTION].includes(errorCode(error) ?? '');
}
