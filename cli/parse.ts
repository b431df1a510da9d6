import type { ErrorCode } from '../common/error-codes.ts';
import { TollwayError } from '../common/errors.ts';
import { ID_MAX } from '../contract/click-event.ts';

/** Creates a parser that also lets `none` pass, which removes the value. Commander would turn `null` into an empty text. */
export function orNone<T>(parse: (text: string) => T): (text: string) => T | 'none' {
  return (text) => (text === 'none' ? text : parse(text));
}

/**
 * Creates a parser of a text that `none` would remove in `update`, so nothing new gets it as its value. Throws `code`.
 *
 * @param what the text in words, such as `a name`
 */
export function exceptNone(
  parse: (text: string) => string,
  code: ErrorCode,
  what: string,
): (text: string) => string {
  return (text) => {
    const parsed = parse(text);
    if (parsed !== 'none') return parsed;
    throw new TollwayError(code, `Expected ${what}, got "none", which stands for no value`);
  };
}

/** Reads an id as the lists show it. Throws `bad_id`. */
export function parseId(text: string): number {
  const id = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(id <= ID_MAX))
    throw new TollwayError('bad_id', `Expected an id, a whole number from 1, got "${text}"`);
  return id;
}

/** Reads a number of things, 1–9999999. Throws `bad_count`. */
export function parseCount(text: string): number {
  const count = /^[1-9]\d{0,6}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(count))
    throw new TollwayError('bad_count', `Expected a whole number of 1–9999999, got "${text}"`);
  return count;
}
