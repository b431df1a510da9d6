import { referrerHost, truncateAddress } from '../../ad-server/http/visitor.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { parsePositiveAmount } from '../../common/money.ts';
import { unixMs } from '../../common/unix-time.ts';
import { clickOf } from './click-lines.ts';
import type { LineResult } from './line-result.ts';
import { isLocalTime, type LocalTime } from './local-time.ts';
import { type LogContext, readingOf } from './logs/log-request.ts';

const asText = (text: string) => text;

/** Columns that become a field of the click event, with their parsers. Empty cells are left out. */
const EVENT_COLUMNS = {
  clickId: { field: 'clickId', read: asText },
  adId: { field: 'adId', read: readNumber },
  campaignId: { field: 'campaignId', read: readNumber },
  advertiserId: { field: 'advertiserId', read: readNumber },
  price: { field: 'priceMicros', read: readPrice },
  priceMicros: { field: 'priceMicros', read: readNumber },
  nonce: { field: 'nonce', read: asText },
  publisher: { field: 'publisher', read: asText },
  invalid: { field: 'invalid', read: asText },
  userAgent: { field: 'userAgent', read: asText },
  referrer: { field: 'referrerHost', read: (text: string) => referrerHost(text) },
  referrerHost: { field: 'referrerHost', read: asText },
  address: { field: 'visitorNetwork', read: truncateAddress },
  visitorNetwork: { field: 'visitorNetwork', read: asText },
} as const;

/** The columns that Tollway reads. A `link` replaces `adId` and the rest; rows whose `isClick` is 0 are skipped. */
export const COLUMNS = ['clickedAt', 'link', 'isClick', ...keysOf(EVENT_COLUMNS)] as const;
export type Column = (typeof COLUMNS)[number];

/** The header in the file of each of Tollway's columns. `=7` is not a header but the constant 7 for all rows. */
export type ColumnMap = ReadonlyMap<Column, string>;

/** How the times of a file are parsed. */
export type TimeOptions = {
  /** Parses times without a zone; `null` rejects them. */
  readonly localTime: LocalTime | null;
  /**
   * The time of the first row in Unix ms; the others are shifted by the same amount. Times can then also be seconds since any start. `null`
   * does not shift.
   */
  readonly baseMs: number | null;
};

/** Where the value of a column comes from: the cell at `index`, or a constant. */
export type Cell = { readonly column: Column; readonly index: number; readonly constant: string | null };

/** Parses a column mapping such as `adId=ad,clickedAt=time`; `adId==7` sets 7 for all rows. Throws `bad_columns`. */
export function parseColumns(text: string): ColumnMap {
  const map = new Map<Column, string>();
  for (const part of text.split(',')) {
    const [name = '', ...rest] = part.split('=');
    const column = columnNamed(name.trim());
    const header = rest.join('=').trim();
    if (column === undefined || header === '' || header === '=') {
      const message = `Expected columns such as adId=ad,clickedAt=time, of ${COLUMNS.join(', ')}, got "${part}"`;
      throw new TollwayError('bad_columns', message);
    }
    map.set(column, header);
  }
  return map;
}

/** Whether a file with these headers can be read without `--columns`. */
export function areTollwayHeaders(headers: readonly string[]): boolean {
  const has = (name: Column) => headers.includes(name);
  return (has('adId') && (has('clickedAt') || has('clickId'))) || (has('link') && has('clickedAt'));
}

/** Locates the columns in the headers of a file. Throws `bad_columns`. */
export function findColumns(headers: readonly string[], columns: ColumnMap | null): readonly Cell[] {
  const known = headers.flatMap((header) => columnNamed(header) ?? []);
  const mapping: ColumnMap = columns ?? new Map(known.map((name) => [name, name]));
  const cells = [...mapping].map(([column, header]): Cell => {
    if (header.startsWith('=')) return { column, index: -1, constant: header.slice(1) };
    const index = headers.indexOf(header);
    if (index >= 0) return { column, index, constant: null };
    throw new TollwayError(
      'bad_columns',
      `Expected a column "${header}" for ${column} in the first line, got ${headers.map((name) => `"${name}"`).join(', ')}`,
    );
  });
  if (!areTollwayHeaders([...mapping.keys()]) || (mapping.has('adId') && mapping.has('link'))) {
    const message =
      'Expected columns for clickedAt and either adId or link: --columns adId=…,clickedAt=… or --columns link=…,clickedAt=…';
    throw new TollwayError('bad_columns', message);
  }
  return cells;
}

/** Creates a reader for the rows of one file. It must read them in order, because the first row sets the time shift. */
export function createRowReader(cells: readonly Cell[], times: TimeOptions, log: LogContext) {
  const readTime = createTimeReader(times);
  return (values: readonly string[], line: number): LineResult => {
    const texts = new Map(
      cells.map(({ column, index, constant }) => [column, constant ?? values[index]?.trim() ?? '']),
    );
    const time = texts.get('clickedAt');
    const clickedAt = time === undefined ? undefined : readTime(time);
    if (/^(0(\.0+)?|f(alse)?|no?)$/i.test(texts.get('isClick') ?? ''))
      return { is: 'skipped', line, why: 'the isClick column is 0' };
    if (typeof clickedAt === 'string') return { is: 'broken', line, why: timeError(clickedAt) };
    const link = texts.get('link');
    if (link !== undefined) return readLinkRow(link, clickedAt, texts, line, log);
    return readEventRow(clickedAt, texts, line);
  };
}

/** Parses a time to Unix ms. Returns the text itself if it is not a time. */
function createTimeReader({ localTime, baseMs }: TimeOptions): (text: string) => number | string {
  let shiftMs: number | null = null;
  return (text) => {
    const seconds = baseMs !== null && /^\d{1,8}(\.\d{1,9})?$/.test(text) ? Number(text) * 1_000 : null;
    const ms = unixMs(text) ?? localTime?.(text) ?? seconds;
    if (ms === null) return text;
    if (baseMs === null) return ms;
    shiftMs ??= baseMs - ms;
    return Math.round(ms + shiftMs);
  };
}

function timeError(text: string): string {
  const got = text === '' ? 'nothing' : JSON.stringify(text.slice(0, 60));
  if (isLocalTime(text))
    return `Expected a time with a zone in clickedAt, got ${got}; set the zone with --time-zone`;
  const remedy = /^\d{1,9}$/.test(text)
    ? '; for seconds since the start of the file, set --base-time; for YYMMDDHH, set --time-zone'
    : '';
  return `Expected a time with a zone, or Unix seconds or ms, in clickedAt, got ${got}${remedy}`;
}

function readLinkRow(
  link: string,
  clickedAt: number | undefined,
  texts: ReadonlyMap<Column, string>,
  line: number,
  log: LogContext,
): LineResult {
  const text = (column: Column) => texts.get(column) || null;
  const request = {
    clickedAt: clickedAt ?? Number.NaN,
    precisionMs: 1,
    method: 'GET',
    target: link,
    status: 302,
    peer: text('address') ?? text('visitorNetwork') ?? '',
    forwardedFor: null,
    userAgent: text('userAgent'),
    referrer: text('referrer') ?? text('referrerHost'),
  };
  return readingOf(request, line, log);
}

function readEventRow(
  clickedAt: number | undefined,
  texts: ReadonlyMap<Column, string>,
  line: number,
): LineResult {
  const event: Record<string, unknown> = clickedAt === undefined ? {} : { clickedAt };
  for (const [column, text] of texts) {
    if (column === 'clickedAt' || column === 'link' || column === 'isClick') continue;
    const { field, read } = EVENT_COLUMNS[column];
    try {
      // An empty nonce means an evergreen link, an empty reason a valid click. Other empty fields are looked up in the ad.
      if (text !== '') event[field] = read(text);
      else if (field === 'nonce') event[field] = null;
    } catch (error) {
      return { is: 'broken', line, why: `${column}: ${errorMessage(error)}` };
    }
  }
  return clickOf(event, line);
}

/** Parses a whole number, also `1.0`, as pandas writes numbers of a column with gaps. Returns other texts unchanged, for the error message. */
function readNumber(text: string): number | string {
  const [, digits] = /^(\d{1,16})(?:\.0+)?$/.exec(text) ?? [];
  return digits === undefined ? text : Number(digits);
}

/** Parses an amount to micros, with a decimal point or a decimal comma, or in the form `5.4E-5`. Throws `bad_amount`. */
function readPrice(text: string): number {
  if (/^\d{1,3},\d{3}$/.test(text) && !text.startsWith('0')) {
    const message = `Amount "${text}" is ambiguous: the comma can be a decimal or a thousands separator`;
    throw new TollwayError('bad_amount', message);
  }
  if (/^\d(\.\d{1,9})?e-?\d{1,2}$/i.test(text)) {
    const micros = Number(text) * 1e6;
    // Floating-point fractions are rarely exact. The tolerance of a millionth of a micro is far below 6 decimals.
    if (micros >= 0.5 && Math.abs(micros - Math.round(micros)) < 1e-6) return Math.round(micros);
    throw new TollwayError('bad_amount', `Expected an amount above 0 with at most 6 decimals, got "${text}"`);
  }
  const plain = /^\d{1,3}(\.\d{3})+,\d+$/.test(text)
    ? text.replaceAll('.', '').replace(',', '.')
    : /^\d{1,3}(,\d{3})+\.\d+$/.test(text)
      ? text.replaceAll(',', '')
      : text.replace(/^(\d+),(\d+)$/, '$1.$2');
  return Number(parsePositiveAmount(plain));
}

function columnNamed(name: string): Column | undefined {
  return COLUMNS.find((known) => known === name);
}

function keysOf<T extends object>(object: T): (keyof T)[] {
  // The argument is an object literal, so it has no other keys.
  return Object.keys(object) as (keyof T)[];
}
