import { type CsvValue, csvLine } from '../common/csv.ts';
import { printable, printableJson, printableLines } from '../common/text.ts';

/** Writes a value as JSON: amounts are decimal strings already, and a bigint left over would be a mistake. */
export function printJson(value: unknown): void {
  process.stdout.write(`${printableJson(value, 2)}\n`);
}

/** How a command prints its result: for a person, for a spreadsheet, for a script. */
export type Format = 'table' | 'csv' | 'json';

/** Writes rows in a format. `empty`: the line for a person if there are none. CSV without rows is empty. */
export function printRows<Row extends TableRow>(
  rows: readonly Row[],
  { format }: { readonly format: Format },
  empty: string,
): void {
  if (format === 'json') printJson(rows);
  else if (format === 'csv') printCsv(Object.keys(rows[0] ?? {}), rows.map(Object.values));
  else printTable(rows, empty);
}

/** Writes one row in a format; as JSON, an object. */
export function printRow(row: TableRow, { format }: { readonly format: Format }): void {
  if (format === 'json') printJson(row);
  else printRows([row], { format }, '');
}

/** Writes lines of CSV (RFC 4180) under their column names. */
export function printCsv(columns: readonly string[], lines: readonly (readonly CsvValue[])[]): void {
  if (columns.length === 0) return;
  process.stdout.write([columns, ...lines].map((line) => `${csvLine(line)}\n`).join(''));
}

type TableRow = Readonly<Record<string, string | number | boolean | null>>;

/** Writes rows under their column names, numbers to the right. */
export function printTable(rows: readonly TableRow[], empty: string): void {
  const [first] = rows;
  if (!first) {
    process.stdout.write(`${empty}\n`);
    return;
  }
  const columns = Object.keys(first);
  const cells = rows.map((row) => columns.map((column) => printable(String(row[column] ?? ''))));
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...cells.map((row) => row[index]?.length ?? 0)),
  );
  const toRight = columns.map((_, index) => cells.every((row) => /^-?[\d.]*$/.test(row[index] ?? '')));
  const line = (row: readonly string[]) =>
    row
      .map((cell, index) =>
        toRight[index] ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd();
  process.stdout.write(`${[columns, ...cells].map(line).join('\n')}\n`);
}

/** Writes a line to standard error, beside the output that a script reads. Control characters are escaped. */
export function printNote(text: string): void {
  process.stderr.write(`${printableLines(text)}\n`);
}

/** Writes lines for a person. Control characters, as records from outside may hold them, are escaped. */
export function printLine(text: string): void {
  process.stdout.write(`${printableLines(text)}\n`);
}
