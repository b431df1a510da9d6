import { printable } from '../common/text.ts';

/** A line of CSV (RFC 4180); absent values are empty. */
export function csvLine(values: readonly (string | number | bigint | null)[]): string {
  return values
    .map((value) => {
      const text = printable(String(value ?? ''));
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    })
    .join(',');
}
