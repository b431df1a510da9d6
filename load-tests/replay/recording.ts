import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { errorCode, TollwayError } from '../../common/errors.ts';
import { linesOf, textChunks } from '../../common/text-file.ts';
import { CLICK_BYTES_MAX } from '../../producer/click-event.ts';
import { isLogLine, readAccessLog } from './access-log.ts';
import { parseObject, readClickLines } from './click-lines.ts';
import { type ColumnMap, csvReader, isHeadLine } from './csv-rows.ts';
import { isExportRow, readLedgerExport } from './ledger-export.ts';
import type { Reader, Reading, Recorded, Unplayable } from './reading.ts';

export const FORMATS = ['events', 'export', 'combined', 'csv'] as const;
export type Format = (typeof FORMATS)[number];

/** Lines looked at to find out the format: a file may begin with a broken one. */
const LOOKED_AT_MAX = 20;
/** Clicks that are shown as samples. */
const SAMPLES_MAX = 10;

/** A file of recorded clicks that was read once to its end, so that what is said of it beforehand is true. */
export type Recording = {
  readonly format: Format;
  /** SHA-256 of it, unpacked. */
  readonly hash: Buffer;
  readonly clicks: number;
  /** Unix ms of its first click, and of its latest. */
  readonly firstAt: number;
  readonly latestAt: number;
  /** Clicks of before `oldAt`. */
  readonly old: number;
  readonly samples: readonly Recorded[];
  /** Its lines, once more from the beginning. */
  readonly read: () => AsyncGenerator<Reading>;
};

/**
 * Opens a file, plain or gzip, and reads it once. Throws `bad_file` where it is not to be had, cut off, or without a
 * single click, `unknown_format`, and `bad_columns`.
 */
export async function openRecording(
  path: string,
  {
    format: asked,
    columns,
    oldAt,
    stop,
  }: { format: Format | 'auto'; columns: ColumnMap | null; oldAt: number; stop: AbortSignal },
): Promise<Recording> {
  const format = asked === 'auto' ? await findFormat(path, columns) : asked;
  const reader = readerOf(format, columns);
  const hash = createHash('sha256');
  const found = { clicks: 0, firstAt: 0, latestAt: 0, old: 0, samples: [] as Recorded[] };
  const troubles: Unplayable[] = [];
  for await (const reading of reader(
    linesOf(
      bytesOf(path, (chunk) => hash.update(chunk)),
      CLICK_BYTES_MAX,
    ),
  )) {
    if (stop.aborted) throw new TollwayError('interrupted', 'interrupted before anything was sent');
    if (reading.is !== 'event' && reading.is !== 'request') {
      if (troubles.length < 3) troubles.push(reading);
      continue;
    }
    if (found.clicks === 0) found.firstAt = reading.clickedAt;
    found.clicks += 1;
    found.latestAt = Math.max(found.latestAt, reading.clickedAt);
    if (reading.clickedAt < oldAt) found.old += 1;
    if (found.samples.length < SAMPLES_MAX) found.samples.push(reading);
  }
  if (found.clicks === 0) {
    const why =
      troubles.length === 0
        ? 'the file is empty'
        : `got none\n${troubles.map(({ line, why: said }) => `  line ${line}: ${said}`).join('\n')}`;
    throw new TollwayError('bad_file', `${path}: expected clicks (${format}), ${why}`);
  }
  return {
    format,
    hash: hash.digest(),
    ...found,
    read: () => reader(linesOf(bytesOf(path), CLICK_BYTES_MAX)),
  };
}

function readerOf(format: Format, columns: ColumnMap | null): Reader {
  switch (format) {
    case 'events':
      return readClickLines;
    case 'export':
      return readLedgerExport;
    case 'combined':
      return readAccessLog;
    case 'csv':
      return csvReader(columns);
    default:
      return format satisfies never;
  }
}

async function findFormat(path: string, columns: ColumnMap | null): Promise<Format> {
  if (columns !== null) return 'csv';
  let looked = 0;
  for await (const line of linesOf(bytesOf(path), CLICK_BYTES_MAX)) {
    if (line.length === 0) continue;
    const text = line.toString();
    const object = parseObject(text);
    if (typeof object !== 'string') return isExportRow(object) ? 'export' : 'events';
    if (isLogLine(text)) return 'combined';
    if (looked === 0 && isHeadLine(text)) return 'csv';
    looked += 1;
    if (looked >= LOOKED_AT_MAX) break;
  }
  if (looked === 0) throw new TollwayError('bad_file', `${path}: expected clicks, the file is empty`);
  const message =
    `${path}: expected JSON click events, the ledger's export, a combined access log, or CSV with the columns adId and ` +
    `clickedAt (others: --columns adId=…,clickedAt=…); the first ${looked} lines are none of these`;
  throw new TollwayError('unknown_format', message);
}

async function* bytesOf(path: string, look: (chunk: Buffer) => void = () => {}): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of textChunks(path, createReadStream(path))) {
      look(chunk);
      yield chunk;
    }
  } catch (cause) {
    const code = errorCode(cause);
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw cause;
    throw new TollwayError('bad_file', `${path}: expected a file that can be read, got ${code}`, { cause });
  }
}
