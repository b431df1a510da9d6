import { printable } from './text.ts';

/** A value in CSV; `null` is empty. */
export type CsvValue = string | number | bigint | boolean | null;

/**
 * A text that a spreadsheet would evaluate. A minus before letters and digits alone is a number or a name.
 * https://owasp.org/www-community/attacks/CSV_Injection
 */
const FORMULA = /^(?:[=+@\t\r]|-(?![\w.]*$))/;

/** A line of CSV (RFC 4180); absent values are empty. A text that a spreadsheet would evaluate gets an apostrophe before it. */
export function csvLine(values: readonly CsvValue[]): string {
  return values
    .map((value) => {
      const raw = printable(String(value ?? ''));
      const text = FORMULA.test(raw) ? `'${raw}` : raw;
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    })
    .join(',');
}
