import { parse } from 'csv-parse/sync';
import { referrerHost, truncateAddress } from '../../ad-server/visitor.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { parsePositiveAmount } from '../../common/money.ts';
import { unixMs } from '../../common/unix-time.ts';
import { CLICK_BYTES_MAX } from '../../producer/click-event.ts';
import { clickOf, tooLong } from './click-lines.ts';
import type { Reader, Reading } from './reading.ts';

const asText = (text: string) => text;
const asNumber = (text: string) => (/^\d{1,16}$/.test(text) ? Number(text) : text);

/** What a column may be: the field of a click event that it becomes, and how. An empty cell is none. */
export const COLUMNS = {
  clickId: { field: 'clickId', read: asText },
  clickedAt: { field: 'clickedAt', read: readTime },
  adId: { field: 'adId', read: asNumber },
  campaignId: { field: 'campaignId', read: asNumber },
  advertiserId: { field: 'advertiserId', read: asNumber },
  price: { field: 'priceMicros', read: (text: string) => Number(parsePositiveAmount(text)) },
  priceMicros: { field: 'priceMicros', read: asNumber },
  nonce: { field: 'nonce', read: asText },
  invalid: { field: 'invalid', read: asText },
  userAgent: { field: 'userAgent', read: asText },
  referrer: { field: 'referrerHost', read: (text: string) => referrerHost(text) },
  referrerHost: { field: 'referrerHost', read: asText },
  address: { field: 'visitorNetwork', read: truncateAddress },
  visitorNetwork: { field: 'visitorNetwork', read: asText },
} as const;
type Column = keyof typeof COLUMNS;

/** The column of the file that each of ours is in. */
export type ColumnMap = ReadonlyMap<Column, string>;

const SEPARATORS = [',', ';', '\t'];
/** Rows taken apart at once: the parser has to be set up for each call. */
const ROWS = 200;
/** Lines that one row may have: of a quote that is never closed, no more are looked at. */
const ROW_LINES_MAX = 20;

/** Reads `adId=ad,clickedAt=time`. Throws `bad_columns`. */
export function parseColumns(text: string): ColumnMap {
  const map = new Map<Column, string>();
  for (const part of text.split(',')) {
    const [name = '', ...rest] = part.split('=');
    const column = columnNamed(name.trim());
    const header = rest.join('=').trim();
    if (column === undefined || header === '') {
      const message = `Expected columns such as adId=ad,clickedAt=time, of ${Object.keys(COLUMNS).join(', ')}, got "${part}"`;
      throw new TollwayError('bad_columns', message);
    }
    map.set(column, header);
  }
  return map;
}

function columnNamed(name: string): Column | undefined {
  return (Object.keys(COLUMNS) as Column[]).find((known) => known === name);
}

/** Whether a line may be the head of a CSV file that needs no columns named: it has ours. */
export function isHeadLine(text: string): boolean {
  const { headers } = readHead(text);
  return headers.includes('adId') && (headers.includes('clickedAt') || headers.includes('clickId'));
}

function readHead(text: string): { separator: string; headers: string[] } {
  const count = (separator: string) => text.split(separator).length;
  const [separator = ','] = [...SEPARATORS].sort((one, other) => count(other) - count(one));
  const [headers = []] = parse(text, { delimiter: separator, bom: true, relax_quotes: true }) as string[][];
  return { separator, headers: headers.map((header) => header.trim()) };
}

/**
 * CSV by RFC 4180, separated by commas, semicolons or tabs; the first line names the columns. A bad row, such as one with
 * a quote that is never closed, takes none of its neighbours with it. Throws `bad_columns` where the file lacks one.
 */
export function csvReader(columns: ColumnMap | null): Reader {
  return async function* (lines) {
    let head: { separator: string; cells: [number, Column][] } | null = null;
    let rows: Row[] = [];
    for await (const row of rowsOf(lines)) {
      if (head === null) {
        head = findColumns(row.text, columns);
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

function findColumns(text: string, columns: ColumnMap | null) {
  const { separator, headers } = readHead(text);
  const named = headers.flatMap((header) => columnNamed(header) ?? []);
  const wanted = columns ?? new Map(named.map((name) => [name, name as string]));
  const cells = [...wanted].map(([column, header]): [number, Column] => {
    const index = headers.indexOf(header);
    if (index >= 0) return [index, column];
    throw new TollwayError(
      'bad_columns',
      `Expected a column "${header}" for ${column} in the first line, got ${headers.map((name) => `"${name}"`).join(', ')}`,
    );
  });
  if (!wanted.has('adId') || !(wanted.has('clickedAt') || wanted.has('clickId'))) {
    const message = 'Expected columns for adId and clickedAt at least: --columns adId=…,clickedAt=…';
    throw new TollwayError('bad_columns', message);
  }
  return { separator, cells };
}

type Row = { readonly line: number; readonly text: string };

/** Puts the lines of quoted line breaks together. */
async function* rowsOf(lines: AsyncIterable<Buffer>): AsyncGenerator<Row> {
  let open: Row[] = [];
  let number = 0;
  for await (const bytes of lines) {
    number += 1;
    let again: Row[] = [{ line: number, text: bytes.toString() }];
    for (let row = again.shift(); row !== undefined; row = again.shift()) {
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
        // It was no line break within quotes: the first line is broken, and the others are looked at by themselves.
        yield first;
        again = [...open.slice(1), ...again];
        open = [];
      }
    }
  }
  // A quote that is open at the end.
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

function* readRows(
  rows: readonly Row[],
  { separator, cells }: { separator: string; cells: readonly [number, Column][] },
): Generator<Reading> {
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
    else yield readValues(values, cells, line);
  }
}

function readValues(values: readonly string[], cells: readonly [number, Column][], line: number): Reading {
  const event: Record<string, unknown> = {};
  for (const [index, column] of cells) {
    const text = values[index]?.trim() ?? '';
    const { field, read } = COLUMNS[column];
    try {
      // An empty cell says that there is no nonce, that nothing was invalid; of what is needed, that it is to be looked up.
      if (text !== '') event[field] = read(text);
      else if (field === 'nonce') event[field] = null;
    } catch (error) {
      return { is: 'broken', line, why: `${column}: ${errorMessage(error)}` };
    }
  }
  return clickOf(event, line);
}

/** Anything that is no time is left as it is, to be shown. */
function readTime(text: string): number | string {
  return unixMs(text) ?? text;
}
