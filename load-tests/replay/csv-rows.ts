import { parse } from 'csv-parse/sync';
import { errorMessage } from '../../common/errors.ts';
import { CLICK_BYTES_MAX } from '../../contract/click-event.ts';
import { tooLong } from './click-lines.ts';
import {
  areTollwayHeaders,
  type ColumnMap,
  createRowReader,
  findColumns,
  type TimeOptions,
} from './csv-columns.ts';
import { isExportRow, readExportValues } from './ledger-export.ts';
import type { LineResult, Reader } from './line-result.ts';
import type { LogContext } from './logs/log-request.ts';

const SEPARATORS = [',', ';', '\t'];
/** Rows per call of the parser, because its setup costs time. */
const ROWS = 200;
/** Limit of lines per row. It ends the search for the end of a quote that is never closed. */
const ROW_LINES_MAX = 20;

/** The line with which Excel declares the separator of a file. */
const SEPARATOR_LINE = /^"?sep=(.)"?$/i;

/** Whether a line declares the separator of a CSV file, before its header. */
export function isSeparatorLine(text: string): boolean {
  return SEPARATOR_LINE.test(text);
}

/** Whether a line is the header of a CSV file that can be read without `--columns`. */
export function isHeadLine(text: string): boolean {
  return areTollwayHeaders(readHead(text, null).headers);
}

function readHead(text: string, given: string | null): { separator: string; headers: string[] } {
  const count = (separator: string) => text.split(separator).length;
  const [likely = ','] = [...SEPARATORS].sort((one, other) => count(other) - count(one));
  const separator = given ?? likely;
  const [headers = []] = parse(text, { delimiter: separator, bom: true, relax_quotes: true }) as string[][];
  return { separator, headers: headers.map((header) => header.trim()) };
}

/**
 * Reads CSV (RFC 4180) with commas, semicolons or tabs, or with the separator of Excel's `sep=` line. The first other line is the header. A
 * broken row, such as one with an unclosed quote, does not affect other rows. Without `columns`, the ledger's export is detected by its
 * headers. Throws `bad_columns` if a column is missing.
 */
export function csvReader(columns: ColumnMap | null, times: TimeOptions, log: LogContext): Reader {
  return async function* (lines) {
    let declared: string | null = null;
    let head: Head | null = null;
    let rows: Row[] = [];
    for await (const row of rowsOf(lines)) {
      if (head === null) {
        const separator: string | undefined = SEPARATOR_LINE.exec(row.text)?.[1];
        if (declared === null && separator !== undefined) declared = separator;
        else head = headOf(readHead(row.text, declared), columns, times, log);
        continue;
      }
      rows.push(row);
      if (rows.length < ROWS) continue;
      yield* readRows(rows, head);
      rows = [];
    }
    if (head !== null) yield* readRows(rows, head);
  };
}

type Head = {
  readonly separator: string;
  readonly read: (values: readonly string[], line: number) => LineResult;
};

function headOf(
  { separator, headers }: { separator: string; headers: readonly string[] },
  columns: ColumnMap | null,
  times: TimeOptions,
  log: LogContext,
): Head {
  const names = Object.fromEntries(headers.map((name) => [name, name]));
  if (columns === null && isExportRow(names))
    return { separator, read: (values, line) => readExportValues(headers, values, line) };
  return { separator, read: createRowReader(findColumns(headers, columns), times, log) };
}

type Row = { readonly line: number; readonly text: string };

/** Joins lines to rows: a quoted cell can contain line breaks. */
async function* rowsOf(lines: AsyncIterable<Buffer>): AsyncGenerator<Row> {
  let open: Row[] = [];
  let number = 0;
  for await (const bytes of lines) {
    number += 1;
    let pending: Row[] = [{ line: number, text: bytes.toString() }];
    for (let row = pending.shift(); row !== undefined; row = pending.shift()) {
      const closes = hasOddQuotes(row.text);
      if (open.length === 0 && !closes) {
        if (row.text !== '') yield row;
        continue;
      }
      open.push(row);
      const [first = row] = open;
      const whole = { line: first.line, text: open.map(({ text }) => text).join('\n') };
      if (closes && open.length > 1 && isRow(whole.text)) {
        yield whole;
        open = [];
      } else if (
        (closes && open.length > 1) ||
        open.length > ROW_LINES_MAX ||
        whole.text.length > CLICK_BYTES_MAX
      ) {
        // The lines are not one row: the first line is broken, and the others are examined again on their own.
        yield first;
        pending = [...open.slice(1), ...pending];
        open = [];
      }
    }
  }
  // The lines after a quote that is still open at the end of the file.
  yield* open;
}

function hasOddQuotes(text: string): boolean {
  let odd = false;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) odd = !odd;
  return odd;
}

function isRow(text: string): boolean {
  return SEPARATORS.some((delimiter) => {
    try {
      return parse(text, { delimiter }).length === 1;
    } catch {
      return false;
    }
  });
}

function* readRows(rows: readonly Row[], { separator, read }: Head): Generator<LineResult> {
  const options = { delimiter: separator, relax_column_count: true, record_delimiter: '\n' };
  let parsed: (string[] | string)[];
  try {
    parsed = parse(rows.map(({ text }) => text).join('\n'), options);
  } catch {
    parsed = [];
  }
  if (parsed.length !== rows.length) {
    parsed = rows.map(({ text }) => {
      try {
        const [values = []] = parse(text, options) as string[][];
        return values;
      } catch (error) {
        return errorMessage(error).replace(/ (at|on) line \d+/, '');
      }
    });
  }
  for (const [index, { line, text }] of rows.entries()) {
    const values = parsed[index] ?? [];
    if (text.length > CLICK_BYTES_MAX) yield tooLong(line);
    else if (typeof values === 'string') yield { is: 'broken', line, why: values };
    else yield read(values, line);
  }
}
