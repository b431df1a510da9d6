import { printable } from '../common/text.ts';

/** A value in CSV; `null` is empty. */
export type CsvValue = string | number | bigint | boolean | null;

/** A line of CSV (RFC 4180); absent values are empty. */
export function csvLine(values: readonly CsvValue[]): string {
  return values
    .map((value) => {
      const text = printable(String(value ?? ''));
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    })
    .join(',');
}
