import { createHash } from 'node:crypto';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { fileChunks, linesOf } from '../../common/text-file.ts';
import { CLICK_BYTES_MAX } from '../../contract/click-event.ts';
import { isSeparatorLine } from './csv-rows.ts';
import { createReader, type Format, formatOfLine, type ReaderOptions } from './formats.ts';
import type { LineResult, RecordedClick, UnplayableLine } from './line-result.ts';
import { sortByTime } from './sort-by-time.ts';

/** Lines that are examined to detect the format, because the first lines can be broken. */
const DETECTION_LINES_MAX = 20;
const LOGS = 'combined of nginx or Apache, JSON of nginx or Caddy, CloudFront, AWS load balancer';
/** Clicks that are kept as samples. */
const SAMPLES_MAX = 10;

/** A file of recorded clicks. It was read once to the end, so that its number of clicks and their times are known before the replay. */
export type Recording = {
  readonly format: Format;
  /** SHA-256 of the uncompressed content. */
  readonly hash: Buffer;
  readonly clicks: number;
  /** Unix ms of the earliest and of the latest click. */
  readonly firstAt: number;
  readonly latestAt: number;
  /** Whether its clicks are requests of links, whose signatures must be verified. */
  readonly hasLinks: boolean;
  /** Whether its clicks are not in the order of their times. They are sorted before the replay. */
  readonly isUnordered: boolean;
  /** Number of clicks before `oldAt`. */
  readonly old: number;
  /** Number of requests from untrusted proxies that forwarded another address, and the first such proxy. */
  readonly ignoredProxies: { readonly count: number; readonly first: string | null };
  readonly samples: readonly RecordedClick[];
  /** Reads all lines again, the clicks in the order of their times. */
  readonly read: () => AsyncGenerator<LineResult>;
};

/**
 * Opens a file, plain or gzip, and reads it once. Throws `bad_file` if it cannot be read, is truncated or has no clicks; also throws
 * `unknown_format`, `bad_options`, `bad_columns` and `interrupted`.
 */
export async function openRecording(
  path: string,
  {
    name = path,
    format: requested,
    oldAt,
    stop,
    ...options
  }: { name?: string; format: Format | 'auto'; oldAt: number; stop: AbortSignal } & ReaderOptions,
): Promise<Recording> {
  const format = requested === 'auto' ? await detectFormat({ path, name }, options) : requested;
  const { localTime, baseMs } = options.times;
  if (format !== 'csv' && (localTime !== null || baseMs !== null))
    throw new TollwayError('bad_options', `--time-zone and --base-time need CSV; ${name} is ${format}`);
  const hash = createHash('sha256');
  const read = (onChunk?: (chunk: Buffer) => void) =>
    createReader(format, options)(linesOf(bytesOf({ path, name }, onChunk), CLICK_BYTES_MAX));
  const stats = createStats();
  const unplayable: UnplayableLine[] = [];
  for await (const reading of read((chunk) => hash.update(chunk))) {
    if (stop.aborted) throw new TollwayError('interrupted', 'interrupted before anything was sent');
    if (reading.is === 'event' || reading.is === 'request') countClick(stats, reading, oldAt);
    else if (unplayable.length < 3) unplayable.push(reading);
  }
  if (stats.clicks === 0) throw noClicks(name, format, unplayable);
  const { isUnordered } = stats;
  return {
    format,
    hash: hash.digest(),
    ...stats,
    read: () => (isUnordered ? sortByTime(read()) : read()),
  };
}

function noClicks(name: string, format: Format, unplayable: readonly UnplayableLine[]): TollwayError {
  const lines = unplayable.map(({ line, why }) => `  line ${line}: ${why}`).join('\n');
  const problem = lines === '' ? 'the file is empty' : `expected clicks (${format}), got none\n${lines}`;
  return new TollwayError('bad_file', `${name}: ${problem}`);
}

/** A file, and its name in messages. */
type NamedFile = { readonly path: string; readonly name: string };

function createStats() {
  return {
    clicks: 0,
    firstAt: Number.POSITIVE_INFINITY,
    latestAt: 0,
    hasLinks: false,
    isUnordered: false,
    old: 0,
    ignoredProxies: { count: 0, first: null as string | null },
    samples: [] as RecordedClick[],
  };
}

function countClick(stats: ReturnType<typeof createStats>, click: RecordedClick, oldAt: number): void {
  stats.clicks += 1;
  if (click.clickedAt < stats.latestAt) stats.isUnordered = true;
  stats.firstAt = Math.min(stats.firstAt, click.clickedAt);
  stats.latestAt = Math.max(stats.latestAt, click.clickedAt);
  if (click.clickedAt < oldAt) stats.old += 1;
  if (stats.samples.length < SAMPLES_MAX) stats.samples.push(click);
  if (click.is !== 'request') return;
  stats.hasLinks = true;
  if (click.ignoredProxy === null) return;
  stats.ignoredProxies.count += 1;
  stats.ignoredProxies.first ??= click.ignoredProxy;
}

async function detectFormat({ path, name }: NamedFile, { columns }: ReaderOptions): Promise<Format> {
  let examined = 0;
  for await (const line of linesOf(bytesOf({ path, name }), CLICK_BYTES_MAX)) {
    const text = line.toString();
    if (text === '' || (examined === 0 && isSeparatorLine(text))) continue;
    const format = formatOfLine(text, examined === 0);
    if (columns !== null) {
      // A CSV header is never a JSON object.
      if (format === null || !text.startsWith('{')) return 'csv';
      throw new TollwayError('bad_options', `--columns needs CSV; ${name} is ${format}`);
    }
    if (format !== null) return format;
    examined += 1;
    if (examined >= DETECTION_LINES_MAX) break;
  }
  if (examined === 0) throw new TollwayError('bad_file', `${name}: the file is empty`);
  const message =
    `${name}: expected JSON click events, the ledger's export, an access log (${LOGS}), or CSV with the columns adId and ` +
    `clickedAt (map others with --columns adId=…,clickedAt=…); the first ${counted(examined, 'line is', 'lines are')} none of these`;
  throw new TollwayError('unknown_format', message);
}

async function* bytesOf(
  { path, name }: NamedFile,
  onChunk: (chunk: Buffer) => void = () => {},
): AsyncGenerator<Buffer> {
  for await (const chunk of fileChunks(path, name)) {
    onChunk(chunk);
    yield chunk;
  }
}
