import { canonicalUuid, isUuidV7 } from '../common/uuid.ts';

/** Longest line of a list, in characters: those of an export have less than a tenth of it. */
export const LIST_LINE_CHARS_MAX = 16_384;

/**
 * What a line of a list of clicks says:
 * - `charge`: the click of this id.
 * - `passed_over`: a row of an export that is no charge, as of an invalid click or of a credit.
 * - `blank`: nothing, or the names of the columns of CSV.
 * - `wrong`: none of these.
 */
export type ListLine =
  | { readonly is: 'charge'; readonly clickId: string }
  | { readonly is: 'passed_over' | 'blank' | 'wrong' };

/** Separators of CSV: the comma of exports, and what spreadsheets write in some languages or copy. */
const SEPARATORS = [',', ';', '\t'] as const;
type Separator = (typeof SEPARATORS)[number];

/** Where a list in CSV has what is read of it. `outcome` is -1 without such a column. */
type Columns = {
  readonly separator: Separator;
  readonly count: number;
  readonly clickId: number;
  readonly outcome: number;
};

/** The outcomes of an export's rows that are no charges. Another text is wrong: passing it over would leave a charge without its credit. */
const NO_CHARGES: ReadonlySet<unknown> = new Set(['over_budget', 'invalid', 'rejected', 'credit']);

const PASSED_OVER: ListLine = { is: 'passed_over' };
const BLANK: ListLine = { is: 'blank' };
const WRONG: ListLine = { is: 'wrong' };

/**
 * Creates a reader of the lines of one list of clicks, which takes them in order, split at LF. A list has a click id a line, or the rows
 * of an export in NDJSON or CSV. A row without an outcome counts as a charge. It is CSV if its first line names the columns, one of them
 * `clickId`: also with other columns, and with semicolons or tabs, as spreadsheets save and copy it.
 */
export function createListReader(): (line: string) => ListLine {
  let columns: Columns | null = null;
  let isFirst = true;
  return (ended) => {
    const line = ended.endsWith('\r') ? ended.slice(0, -1) : ended;
    if (line.length > LIST_LINE_CHARS_MAX) return WRONG;
    const text = line.trim();
    if (text === '') return BLANK;
    if (isFirst) {
      isFirst = false;
      columns = columnsOf(line);
      if (columns !== null) return BLANK;
    }
    if (columns !== null) return readCells(line, columns);
    return text.startsWith('{') ? readJsonRow(text) : chargeOf(text);
  };
}

/** Bytes that `utf16Of` needs. */
export const LIST_HEAD_BYTES = 4;

/**
 * The UTF-16 in which a list is written, by its first bytes; `null` for UTF-8. Spreadsheets save UTF-16 with a byte order mark; without one,
 * it is refused like other formats.
 */
export function utf16Of([first, second, third, fourth]: Uint8Array): 'utf-16le' | 'utf-16be' | null {
  if (first === 0xfe && second === 0xff) return 'utf-16be';
  // The mark of UTF-32 begins with that of UTF-16.
  const isUtf32 = third === 0 && fourth === 0;
  return first === 0xff && second === 0xfe && !isUtf32 ? 'utf-16le' : null;
}

/** The canonical click id of a text, also of one in upper case; `null` if it is none. */
export function clickIdOf(text: string): string | null {
  const clickId = canonicalUuid(text.trim());
  return isUuidV7(clickId) ? clickId : null;
}

function chargeOf(text: string): ListLine {
  const clickId = clickIdOf(text);
  return clickId === null ? WRONG : { is: 'charge', clickId };
}

function readJsonRow(text: string): ListLine {
  try {
    const { clickId, outcome = 'charged' } = JSON.parse(text) as { clickId?: unknown; outcome?: unknown };
    return readRow(String(clickId), outcome);
  } catch {
    return WRONG;
  }
}

function columnsOf(header: string): Columns | null {
  for (const separator of SEPARATORS) {
    const names = cellsOf(header, separator)?.map((name) => name.trim()) ?? [];
    const clickId = names.indexOf('clickId');
    if (clickId >= 0) return { separator, count: names.length, clickId, outcome: names.indexOf('outcome') };
  }
  return null;
}

function readCells(line: string, columns: Columns): ListLine {
  const cells = cellsOf(line, columns.separator);
  if (cells === null || cells.length !== columns.count) return WRONG;
  const id = cells[columns.clickId] ?? '';
  // Spreadsheets write empty rows, and joined exports repeat the names.
  if (id.trim() === 'clickId' || cells.every((cell) => cell === '')) return BLANK;
  const outcome = columns.outcome < 0 ? 'charged' : cells[columns.outcome]?.trim();
  return readRow(id, outcome);
}

function readRow(clickId: string, outcome: unknown): ListLine {
  if (NO_CHARGES.has(outcome)) return PASSED_OVER;
  return outcome === 'charged' ? chargeOf(clickId) : WRONG;
}

const cellPattern = (separator: Separator) =>
  new RegExp(`(?:"((?:[^"]|"")*)"|([^"${separator}]*))(${separator}|$)`, 'y');
const CELLS = { ',': cellPattern(','), ';': cellPattern(';'), '\t': cellPattern('\t') };

/** The cells of a line of CSV (RFC 4180); `null` if its quotes do not fit. */
function cellsOf(line: string, separator: Separator): string[] | null {
  if (!line.includes('"')) return line.split(separator);
  const pattern = CELLS[separator];
  pattern.lastIndex = 0;
  const cells: string[] = [];
  for (;;) {
    const cell = pattern.exec(line);
    if (cell === null) return null;
    cells.push(cell[1]?.replaceAll('""', '"') ?? cell[2] ?? '');
    if (cell[3] === '') return cells;
  }
}
