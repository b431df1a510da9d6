import { createHash } from 'node:crypto';
import type { QueryConfig } from 'pg';

/** The names of the statements of this process, by text. */
const names = new Map<string, string>();

/**
 * A query that each connection parses only once, and stops to plan if one plan fits all values. For a query that takes longer to plan than to
 * run. Its text must depend on few choices and on no value, because this process and the server keep each text.
 */
export function prepared(text: string, values: readonly unknown[]): QueryConfig {
  const name = names.get(text) ?? nameOf(text);
  names.set(text, name);
  return { name, text, values: [...values] };
}

/**
 * Depends on the text alone. With a number, two processes would give one name to different statements, and a pooler of transactions that
 * does not keep them apart (PgBouncer before 1.21) would run that of the other process.
 */
function nameOf(text: string): string {
  return `prepared ${createHash('sha256').update(text).digest('base64').slice(0, 32)}`;
}
