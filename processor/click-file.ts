import { createHash } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { errorCode, TollwayError } from '../common/errors.ts';
import { isUuidV7, uuidV7From, uuidV7TimeMs } from '../common/uuid.ts';
import {
  CLICK_BYTES_MAX,
  CLICK_VERSION,
  type ReadRecord,
  readRecord,
  type Unreadable,
} from '../producer/click-event.ts';
import { isObject } from './events/bad-event.ts';

const NEWLINE = 10;
/** How every gzip file begins; RFC 1952 §2.3.1 */
const GZIP = Buffer.from([0x1f, 0x8b]);
/** Errors of zlib that lie in the data; https://nodejs.org/api/zlib.html#zlib-constants */
const ZLIB_ERRORS = /^Z_(DATA|BUF)_ERROR$/;
/** A time with its zone, RFC 3339 §5.6: without one, the same file would hold other clicks wherever other clocks are in use. */
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;
/** What a record that names neither has: nothing of it decides about money. */
const DEFAULTS = {
  nonce: null,
  invalid: null,
  braked: false,
  visitorNetwork: null,
  userAgent: null,
  referrerHost: null,
};

/** Opens the file anew, from its beginning. It is read twice, and has to be the same both times. */
export type OpenFile = () => Promise<Readable>;

/**
 * Reads a file of clicks, plain or gzip, a JSON click event a line, `count` of them at a time. Every line becomes a record; one that is no
 * click becomes a dead letter with its bytes. Empty lines are none.
 *
 * An event may lack its `clickId`: it then gets a UUIDv7 of its time, the file's hash and its line, so that the
 * same file read again, packed or not, from here or elsewhere, brings the same clicks. For that the file is read once to
 * the end first: where it is cut off, nothing of it is taken. Throws `bad_file`, or what reading throws.
 */
export async function* readClickFile(
  name: string,
  open: OpenFile,
  count: number,
): AsyncGenerator<ReadRecord[]> {
  const hash = createHash('sha256');
  for await (const chunk of unpacked(name, await open())) hash.update(chunk);
  const fileHash = hash.digest();
  const place = `file ${fileHash.toString('hex', 0, 8)}`;
  let records: ReadRecord[] = [];
  let number = 0;
  for await (const line of linesOf(unpacked(name, await open()))) {
    number += 1;
    if (line.length === 0) continue;
    records.push(readLine(line, fileHash, number, `${place} line ${number}`));
    if (records.length < count) continue;
    yield records;
    records = [];
  }
  if (records.length > 0) yield records;
}

/** The bytes of a file, unpacked if it is gzip. Throws `bad_file` where it is cut off or damaged. */
export async function* unpacked(name: string, file: Readable): AsyncGenerator<Buffer> {
  const chunks = file[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let head = Buffer.alloc(0);
  while (head.length < GZIP.length) {
    const next = await chunks.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  const isPacked = head.subarray(0, GZIP.length).equals(GZIP);
  const all = (async function* () {
    yield head;
    yield* { [Symbol.asyncIterator]: () => chunks };
  })();
  if (!isPacked) return yield* all;
  try {
    // What fails in the file fails what is read here: the pipeline itself tells nobody else.
    yield* pipeline(Readable.from(all), createGunzip(), () => {});
  } catch (error) {
    if (!ZLIB_ERRORS.test(errorCode(error) ?? '')) throw error;
    const message = `${name}: expected a whole gzip file, got one that is cut off or damaged; nothing of it was taken`;
    throw new TollwayError('bad_file', message, { cause: error });
  } finally {
    file.destroy();
  }
}

/** Lines without their ends. Of one that is longer than any click, only as much is kept as shows that. */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let length = 0;
  const keep = (part: Buffer) => {
    // A copy: the chunk may be large, and the line is kept until it is settled.
    if (length <= CLICK_BYTES_MAX) parts.push(Buffer.from(part.subarray(0, CLICK_BYTES_MAX + 1 - length)));
    length += part.length;
  };
  const take = () => {
    const line = Buffer.concat(parts);
    parts = [];
    length = 0;
    return line.at(-1) === 13 ? line.subarray(0, -1) : line;
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      keep(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    if (start < chunk.length) keep(chunk.subarray(start));
  }
  if (length > 0) yield take();
}

function readLine(line: Buffer, fileHash: Buffer, number: number, position: string): ReadRecord {
  const asItIs = () => noClick(readRecord({ key: null, value: line }, position), line);
  if (line.length > CLICK_BYTES_MAX) return asItIs();
  let event: unknown;
  try {
    event = JSON.parse(line.toString());
  } catch {
    return asItIs();
  }
  if (!isObject(event)) return asItIs();
  const read = readEvent(event, fileHash, number, position);
  return read.is === 'click' ? read : noClick(read, line);
}

/**
 * Reads what stands in line `number` of the file with that SHA-256, with what it lacks: the same there brings the same click. Its
 * key is the click id.
 */
export function readEvent(
  event: Readonly<Record<string, unknown>>,
  fileHash: Buffer,
  number: number,
  position: string,
): ReadRecord {
  const clickedAt = timeOf(event);
  const clickId = event.clickId ?? (clickedAt === null ? undefined : idOf(clickedAt, fileHash, number));
  const whole = { v: CLICK_VERSION, ...DEFAULTS, ...event, clickId, clickedAt };
  const key = typeof clickId === 'string' ? clickId : null;
  return readRecord({ key, value: Buffer.from(JSON.stringify(whole)) }, position);
}

/**
 * What is no click keeps the bytes that came, and nothing else: a line cannot say of an origin what it has accepted or settled,
 * as marks and the keys of a broker do.
 */
function noClick(read: ReadRecord, line: Buffer): Unreadable {
  const { reason, detail } =
    read.is === 'unreadable'
      ? read
      : ({ reason: 'malformed', detail: `Expected a click, got a ${read.is}` } as const);
  return { is: 'unreadable', key: null, value: line, position: read.position, from: null, reason, detail };
}

/** Unix ms of a click: a number, a time as text, or what its id says. `null` where it says none. */
export function timeOf({ clickedAt, clickId }: Readonly<Record<string, unknown>>): number | null {
  if (clickedAt === undefined && typeof clickId === 'string' && isUuidV7(clickId))
    return uuidV7TimeMs(clickId);
  const time = typeof clickedAt === 'string' && TIME.test(clickedAt) ? Date.parse(clickedAt) : clickedAt;
  return typeof time === 'number' && Number.isSafeInteger(time) && time >= 0 ? time : null;
}

/** The id of a click that came without one. */
function idOf(clickedAt: number, fileHash: Buffer, line: number): string {
  return uuidV7From(clickedAt, createHash('sha256').update(fileHash).update(`:${line}`).digest());
}
