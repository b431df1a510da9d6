import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { counted } from '../../common/counted.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import { linesOf, textChunks } from '../../common/text-file.ts';
import { CLICK_BYTES_MAX } from '../../contract/click-event.ts';
import { isSeparatorLine } from './csv-rows.ts';
import { createReader, type Format, formatOfLine, type ReaderOptions } from './formats.ts';
import type { Reading, RecordedClick, UnplayableLine } from './reading.ts';
import { sortByTime } from './sort-by-time.ts';

/** Lines looked at to find out the format: a file may begin with a broken one. */
const DETECTION_LINES_MAX = 20;
const LOGS = 'combined of nginx or Apache, JSON of nginx or Caddy, CloudFront, AWS load balancer';
/** Clicks that are shown as samples. */
const SAMPLES_MAX = 10;

/** A file of recorded clicks that was read once to its end, so that what is said of it beforehand is true. */
export type Recording = {
  readonly format: Format;
  /** SHA-256 of it, unpacked. */
  readonly hash: Buffer;
  readonly clicks: number;
  /** Unix ms of its earliest click, and of its latest. */
  readonly firstAt: number;
  readonly latestAt: number;
  /** Whether its clicks are requests of links, which have to be verified. */
  readonly hasLinks: boolean;
  /** Whether its clicks do not stand in the order of their times: they are sorted. */
  readonly isUnordered: boolean;
  /** Clicks of before `oldAt`. */
  readonly old: number;
  /** Requests whose proxy named another address and is not trusted, and the first such proxy. */
  readonly ignoredProxies: { readonly count: number; readonly first: string | null };
  readonly samples: readonly RecordedClick[];
  /** Its lines, once more from the beginning, the clicks in the order of their times. */
  readonly read: () => AsyncGenerator<Reading>;
};

/**
 * Opens a file, plain or gzip, and reads it once. Throws `bad_file` where it is not to be had, cut off, or without a
 * single click, `unknown_format`, `bad_options` and `bad_columns`.
 */
export async function openRecording(
  path: string,
  {
    name = path,
    format: asked,
    oldAt,
    stop,
    ...options
  }: { name?: string; format: Format | 'auto'; oldAt: number; stop: AbortSignal } & ReaderOptions,
): Promise<Recording> {
  const format = asked === 'auto' ? await findFormat({ path, name }, options) : asked;
  const { localTime, baseMs } = options.times;
  if (format !== 'csv' && (localTime !== null || baseMs !== null))
    throw new TollwayError('bad_options', `--time-zone and --base-time need CSV; ${name} is ${format}`);
  const hash = createHash('sha256');
  const read = (look?: (chunk: Buffer) => void) =>
    createReader(format, options)(linesOf(bytesOf({ path, name }, look), CLICK_BYTES_MAX));
  const found = createStats();
  const troubles: UnplayableLine[] = [];
  for await (const reading of read((chunk) => hash.update(chunk))) {
    if (stop.aborted) throw new TollwayError('interrupted', 'interrupted before anything was sent');
    if (reading.is === 'event' || reading.is === 'request') countClick(found, reading, oldAt);
    else if (troubles.length < 3) troubles.push(reading);
  }
  if (found.clicks === 0) {
    const why =
      troubles.length === 0
        ? 'the file is empty'
        : `expected clicks (${format}), got none\n${troubles.map(({ line, why: said }) => `  line ${line}: ${said}`).join('\n')}`;
    throw new TollwayError('bad_file', `${name}: ${why}`);
  }
  const { isUnordered } = found;
  return {
    format,
    hash: hash.digest(),
    ...found,
    read: () => (isUnordered ? sortByTime(read()) : read()),
  };
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

function countClick(found: ReturnType<typeof createStats>, click: RecordedClick, oldAt: number): void {
  found.clicks += 1;
  if (click.clickedAt < found.latestAt) found.isUnordered = true;
  found.firstAt = Math.min(found.firstAt, click.clickedAt);
  found.latestAt = Math.max(found.latestAt, click.clickedAt);
  if (click.clickedAt < oldAt) found.old += 1;
  if (found.samples.length < SAMPLES_MAX) found.samples.push(click);
  if (click.is !== 'request') return;
  found.hasLinks = true;
  if (click.ignoredProxy === null) return;
  found.ignoredProxies.count += 1;
  found.ignoredProxies.first ??= click.ignoredProxy;
}

async function findFormat({ path, name }: NamedFile, { columns }: ReaderOptions): Promise<Format> {
  let looked = 0;
  for await (const line of linesOf(bytesOf({ path, name }), CLICK_BYTES_MAX)) {
    const text = line.toString();
    if (text === '' || (looked === 0 && isSeparatorLine(text))) continue;
    const format = formatOfLine(text, looked === 0);
    if (columns !== null) {
      // A line of names is never a JSON object.
      if (format === null || !text.startsWith('{')) return 'csv';
      throw new TollwayError('bad_options', `--columns needs CSV; ${name} is ${format}`);
    }
    if (format !== null) return format;
    looked += 1;
    if (looked >= DETECTION_LINES_MAX) break;
  }
  if (looked === 0) throw new TollwayError('bad_file', `${name}: the file is empty`);
  const message =
    `${name}: expected JSON click events, the ledger's export, an access log (${LOGS}), or CSV with the columns adId and ` +
    `clickedAt (others: --columns adId=…,clickedAt=…); the first ${counted(looked, 'line is', 'lines are')} none of these`;
  throw new TollwayError('unknown_format', message);
}

async function* bytesOf(
  { path, name }: NamedFile,
  look: (chunk: Buffer) => void = () => {},
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of textChunks(name, createReadStream(path))) {
      look(chunk);
      yield chunk;
    }
  } catch (cause) {
    const code = errorCode(cause);
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw cause;
    const why = code === 'ENOENT' ? 'the file does not exist' : `the file cannot be read (${code})`;
    throw new TollwayError('bad_file', `${name}: ${why}`, { cause });
  }
}
