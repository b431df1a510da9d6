import type { QueryConfig } from 'pg';

/** The names of the statements of this process, by text. */
const names = new Map<string, string>();

/**
 * A query that each connection parses only once, and stops to plan if one plan fits all values. For a query that takes longer to plan than to
 * run. Its text must depend on few choices and on no value, because this process and the server keep each text.
 */
export function prepared(text: string, values: readonly unknown[]): QueryConfig {
  const name = names.get(text) ?? `prepared ${names.size + 1}`;
  names.set(text, name);
  return { name, text, values: [...values] };
}
