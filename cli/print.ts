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
  process.stdout.write(csvLines([columns, ...lines]));
}

/** Lines of CSV (RFC 4180), each with its end. */
export function csvLines(lines: readonly (readonly CsvValue[])[]): string {
  return lines.map((line) => `${csvLine(line)}\n`).join('');
}

/** A row of a result, by the names of its columns. */
export type TableRow = Readonly<Record<string, string | number | boolean | null>>;

/** Writes rows under their column names, numbers to the right. */
export function printTable(rows: readonly TableRow[], empty: string): void {
  const [first] = rows;
  if (!first) {
    process.stdout.write(`${empty}\n`);
    return;
  }
  const layout = layOut(rows);
  process.stdout.write(tableHeader(layout) + tableLines(rows, layout));
}

/** The columns of a table: their names, widths in characters, and whether their cells are aligned to the right. */
export type TableLayout = {
  readonly columns: readonly string[];
  readonly widths: readonly number[];
  readonly toRight: readonly boolean[];
};

/** Makes the columns as wide as these rows need. Expects at least one row. */
export function layOut(rows: readonly TableRow[]): TableLayout {
  const columns = Object.keys(rows[0] ?? {});
  const cells = rows.map((row) => cellsOf(row, columns));
  return {
    columns,
    widths: columns.map((column, index) =>
      cells.reduce((width, row) => Math.max(width, row[index]?.length ?? 0), column.length),
    ),
    toRight: columns.map((_, index) => cells.every((row) => /^-?[\d.]*$/.test(row[index] ?? ''))),
  };
}

/** The line with the names of the columns. */
export function tableHeader(layout: TableLayout): string {
  return tableLine(layout.columns, layout);
}

/** A line for each row. A cell that is wider than its column moves the rest of its line. */
export function tableLines(rows: readonly TableRow[], layout: TableLayout): string {
  return rows.map((row) => tableLine(cellsOf(row, layout.columns), layout)).join('');
}

function cellsOf(row: TableRow, columns: readonly string[]): string[] {
  return columns.map((column) => printable(String(row[column] ?? '')));
}

function tableLine(cells: readonly string[], { widths, toRight }: TableLayout): string {
  const padded = cells.map((cell, index) =>
    toRight[index] ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0),
  );
  return `${padded.join('  ').trimEnd()}\n`;
}

/** Writes a line to standard error, beside the output that a script reads. Control characters are escaped. */
export function printNote(text: string): void {
  process.stderr.write(`${printableLines(text)}\n`);
}

/** Writes lines for a person. Control characters, as records from outside may hold them, are escaped. */
export function printLine(text: string): void {
  process.stdout.write(`${printableLines(text)}\n`);
}
