import { once } from 'node:events';
import { printableJson } from '../common/text.ts';
import {
  csvLines,
  type Format,
  layOut,
  type TableLayout,
  type TableRow,
  tableHeader,
  tableLines,
} from './print.ts';

/** Rows that decide how wide the columns of a table are. */
const LAYOUT_ROWS = 10_000;

/** Writes the rows of a long result part by part. */
export type RowWriter = {
  /** Resolves when standard output accepts more, so that a slow reader slows the command down. */
  readonly write: (rows: readonly TableRow[]) => Promise<void>;
  /** Writes the end. Call it once. */
  readonly finish: () => Promise<void>;
};

/**
 * Creates a writer that prints what `printRows` prints, but does not hold all rows in memory. Only a table holds some: its columns are as wide
 * as the first 10 000 rows need. A result that ends with an error is incomplete. `empty`: the line for a person if there are no rows.
 */
export function createRowWriter({ format }: { readonly format: Format }, empty: string): RowWriter {
  switch (format) {
    case 'table':
      return createTableWriter(empty);
    case 'csv':
      return createCsvWriter();
    case 'json':
      return createJsonWriter();
    default:
      return format satisfies never;
  }
}

/** Writes to standard output. Resolves when it accepts more, so that a slow reader slows the command down. */
export async function writeText(text: string): Promise<void> {
  if (text !== '' && !process.stdout.write(text)) await once(process.stdout, 'drain');
}

function createTableWriter(empty: string): RowWriter {
  let held: TableRow[] = [];
  let layout: TableLayout | undefined;
  const writeHeld = async () => {
    layout = layOut(held);
    const text = tableHeader(layout) + tableLines(held, layout);
    held = [];
    await writeText(text);
  };
  return {
    write: async (rows) => {
      if (layout) return writeText(tableLines(rows, layout));
      held = held.concat(rows);
      if (held.length >= LAYOUT_ROWS) await writeHeld();
    },
    finish: async () => {
      if (held.length > 0) await writeHeld();
      else if (!layout) await writeText(`${empty}\n`);
    },
  };
}

function createCsvWriter(): RowWriter {
  let hasHeader = false;
  return {
    write: async (rows) => {
      const [first] = rows;
      if (!first) return;
      const lines = rows.map(Object.values);
      const text = csvLines(hasHeader ? lines : [Object.keys(first), ...lines]);
      hasHeader = true;
      await writeText(text);
    },
    finish: async () => {},
  };
}

/** Creates a writer of an array of JSON with any values, as `printJson` prints it. */
export function createJsonWriter(): {
  readonly write: (values: readonly unknown[]) => Promise<void>;
  readonly finish: () => Promise<void>;
} {
  let before = '[\n';
  return {
    write: async (values) => {
      let text = '';
      for (const value of values) {
        // JSON escapes the line ends in strings, so this indents each line of the value and changes nothing in it.
        text += `${before}  ${printableJson(value, 2).replaceAll('\n', '\n  ')}`;
        before = ',\n';
      }
      await writeText(text);
    },
    finish: () => writeText(before === '[\n' ? '[]\n' : '\n]\n'),
  };
}
