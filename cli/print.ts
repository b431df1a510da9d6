import { printable, printableJson, printableLines } from '../common/text.ts';

/** Writes a value as JSON: amounts are decimal strings already, and a bigint left over would be a mistake. */
export function printJson(value: unknown): void {
  process.stdout.write(`${printableJson(value, 2)}\n`);
}

/** Writes rows under their column names, numbers to the right. */
export function printTable(
  rows: readonly Readonly<Record<string, string | number | null>>[],
  empty: string,
): void {
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
