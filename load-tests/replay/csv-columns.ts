import { referrerHost, truncateAddress } from '../../ad-server/http/visitor.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { parsePositiveAmount } from '../../common/money.ts';
import { unixMs } from '../../common/unix-time.ts';
import { clickOf } from './click-lines.ts';
import { isLocalTime, type LocalTime } from './local-time.ts';
import { type LogContext, readingOf } from './logs/log-request.ts';
import type { Reading } from './reading.ts';

const asText = (text: string) => text;

/** Columns that become a field of a click event, and how. An empty cell is none. */
const EVENT_COLUMNS = {
  clickId: { field: 'clickId', read: asText },
  adId: { field: 'adId', read: readNumber },
  campaignId: { field: 'campaignId', read: readNumber },
  advertiserId: { field: 'advertiserId', read: readNumber },
  price: { field: 'priceMicros', read: readPrice },
  priceMicros: { field: 'priceMicros', read: readNumber },
  nonce: { field: 'nonce', read: asText },
  invalid: { field: 'invalid', read: asText },
  userAgent: { field: 'userAgent', read: asText },
  referrer: { field: 'referrerHost', read: (text: string) => referrerHost(text) },
  referrerHost: { field: 'referrerHost', read: asText },
  address: { field: 'visitorNetwork', read: truncateAddress },
  visitorNetwork: { field: 'visitorNetwork', read: asText },
} as const;

/** What a column may be. Of a `link`, the ad and the rest are found; rows whose `isClick` is 0 are none. */
export const COLUMNS = ['clickedAt', 'link', 'isClick', ...keysOf(EVENT_COLUMNS)] as const;
export type Column = (typeof COLUMNS)[number];

/** The column of the file that each of ours is in; `=7` is no column, but the value of all rows. */
export type ColumnMap = ReadonlyMap<Column, string>;

/** How the times of a file are meant. */
export type TimeOptions = {
  /** Reads times without a zone; `null` refuses them. */
  readonly localTime: LocalTime | null;
  /** Unix ms that the first row gets, with the others at their distance; times may then be numbers of seconds from anywhere. */
  readonly baseMs: number | null;
};

/** A value of a row: from a cell, or the same for all. */
export type Cell = { readonly column: Column; readonly index: number; readonly constant: string | null };

/** Reads `adId=ad,clickedAt=time`, and `adId==7` for one value of all rows. Throws `bad_columns`. */
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

/** Whether these headers are enough without `--columns`. */
export function areTollwayHeaders(headers: readonly string[]): boolean {
  const has = (name: Column) => headers.includes(name);
  return (has('adId') && (has('clickedAt') || has('clickId'))) || (has('link') && has('clickedAt'));
}

/** Finds the columns in the headers of a file. Throws `bad_columns`. */
export function findColumns(headers: readonly string[], columns: ColumnMap | null): readonly Cell[] {
  const named = headers.flatMap((header) => columnNamed(header) ?? []);
  const wanted: ColumnMap = columns ?? new Map(named.map((name) => [name, name]));
  const cells = [...wanted].map(([column, header]): Cell => {
    if (header.startsWith('=')) return { column, index: -1, constant: header.slice(1) };
    const index = headers.indexOf(header);
    if (index >= 0) return { column, index, constant: null };
    throw new TollwayError(
      'bad_columns',
      `Expected a column "${header}" for ${column} in the first line, got ${headers.map((name) => `"${name}"`).join(', ')}`,
    );
  });
  if (!areTollwayHeaders([...wanted.keys()]) || (wanted.has('adId') && wanted.has('link'))) {
    const message =
      'Expected columns for clickedAt and either adId or link: --columns adId=…,clickedAt=… or --columns link=…,clickedAt=…';
    throw new TollwayError('bad_columns', message);
  }
  return cells;
}

/** Reads the rows of one file, from the first on. */
export function createRowReader(cells: readonly Cell[], times: TimeOptions, log: LogContext) {
  const readTime = createTimeReader(times);
  return (values: readonly string[], line: number): Reading => {
    const texts = new Map(
      cells.map(({ column, index, constant }) => [column, constant ?? values[index]?.trim() ?? '']),
    );
    const time = texts.get('clickedAt');
    const clickedAt = time === undefined ? undefined : readTime(time);
    if (/^(0(\.0+)?|f(alse)?|no?)$/i.test(texts.get('isClick') ?? ''))
      return { is: 'skipped', line, why: 'the isClick column is 0' };
    if (typeof clickedAt === 'string') return { is: 'broken', line, why: timeExpected(clickedAt) };
    const link = texts.get('link');
    if (link !== undefined) return readLinkRow(link, clickedAt, texts, line, log);
    return readEventRow(clickedAt, texts, line);
  };
}

/** A time in Unix ms; what is none as it is. */
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

function timeExpected(text: string): string {
  const got = text === '' ? 'nothing' : JSON.stringify(text.slice(0, 60));
  if (isLocalTime(text))
    return `Expected a time with its zone in clickedAt, got ${got}; --time-zone says which zone it is in`;
  const remedy = /^\d{1,9}$/.test(text)
    ? '; for seconds from the beginning of the file, --base-time says when that was; for YYMMDDHH, --time-zone the zone'
    : '';
  return `Expected a time with its zone, or Unix seconds or ms, in clickedAt, got ${got}${remedy}`;
}

function readLinkRow(
  link: string,
  clickedAt: number | undefined,
  texts: ReadonlyMap<Column, string>,
  line: number,
  log: LogContext,
): Reading {
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
): Reading {
  const event: Record<string, unknown> = clickedAt === undefined ? {} : { clickedAt };
  for (const [column, text] of texts) {
    if (column === 'clickedAt' || column === 'link' || column === 'isClick') continue;
    const { field, read } = EVENT_COLUMNS[column];
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

/** A whole number; pandas writes those of a column with gaps as `1.0`. Anything else is left as it is, to be shown. */
function readNumber(text: string): number | string {
  const [, digits] = /^(\d{1,16})(?:\.0+)?$/.exec(text) ?? [];
  return digits === undefined ? text : Number(digits);
}

/** An amount in micros, with a point or a comma before its decimals, or as `5.4E-5`. Throws `bad_amount`. */
function readPrice(text: string): number {
  if (/^\d{1,3},\d{3}$/.test(text) && !text.startsWith('0')) {
    const message = `Amount "${text}" is ambiguous: the comma may be a decimal or a thousands separator`;
    throw new TollwayError('bad_amount', message);
  }
  if (/^\d(\.\d{1,9})?e-?\d{1,2}$/i.test(text)) {
    const micros = Number(text) * 1e6;
    // Binary fractions are rarely exact; a millionth of a micro is far below any decimal that could be meant.
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
  // Keys of an object literal, which has no others.
  return Object.keys(object) as (keyof T)[];
}
