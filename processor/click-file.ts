import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { linesOf, textChunks } from '../common/text-file.ts';
import { unixMs } from '../common/unix-time.ts';
import { canonicalUuid, isUuidV7, uuidV7From, uuidV7TimeMs } from '../common/uuid.ts';
import {
  CLICK_BYTES_MAX,
  CLICK_VERSION,
  type ReadRecord,
  readRecord,
  type Unreadable,
} from '../contract/click-event.ts';
import { isObject } from './events/bad-event.ts';

/** What a record that names neither has: nothing of it decides about money. */
const DEFAULTS = {
  nonce: null,
  invalid: null,
  budgetExhausted: false,
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
  for await (const chunk of textChunks(name, await open())) hash.update(chunk);
  const fileHash = hash.digest();
  const place = `file ${fileHash.toString('hex', 0, 8)}`;
  let records: ReadRecord[] = [];
  let number = 0;
  for await (const line of linesOf(textChunks(name, await open()), CLICK_BYTES_MAX)) {
    number += 1;
    if (line.length === 0) continue;
    records.push(readLine(line, fileHash, number, `${place} line ${number}`));
    if (records.length < count) continue;
    yield records;
    records = [];
  }
  if (records.length > 0) yield records;
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
  if (clickedAt === null && event.clickedAt !== undefined) {
    const detail = `Expected a time in clickedAt (RFC 3339 with its zone, Unix seconds or ms), got ${JSON.stringify(event.clickedAt).slice(0, 100)}`;
    return { is: 'unreadable', key: null, value: null, position, from: null, reason: 'malformed', detail };
  }
  const made = clickedAt === null ? undefined : idOf(clickedAt, fileHash, number);
  const clickId = canonicalUuid(event.clickId ?? made);
  const whole = { v: CLICK_VERSION, ...DEFAULTS, ...event, clickId, clickedAt };
  const key = typeof clickId === 'string' ? clickId : null;
  return readRecord({ key, value: Buffer.from(JSON.stringify(whole)) }, position);
}

/**
 * What is no click keeps the bytes that came, and nothing else: a line cannot say of a spool what it has accepted or settled,
 * as marks and the keys of a broker do.
 */
function noClick(read: ReadRecord, line: Buffer): Unreadable {
  const { reason, detail } =
    read.is === 'unreadable'
      ? read
      : ({ reason: 'malformed', detail: `Expected a click, got a ${read.is}` } as const);
  return { is: 'unreadable', key: null, value: line, position: read.position, from: null, reason, detail };
}

/** Unix ms of a click: its `clickedAt`, as {@link unixMs} reads it, or the time of its id. `null` where it has neither. */
export function timeOf({ clickedAt, clickId: given }: Readonly<Record<string, unknown>>): number | null {
  const clickId = canonicalUuid(given);
  if (clickedAt === undefined && typeof clickId === 'string' && isUuidV7(clickId))
    return uuidV7TimeMs(clickId);
  return unixMs(clickedAt);
}

/** The id of a click that came without one. */
function idOf(clickedAt: number, fileHash: Buffer, line: number): string {
  return uuidV7From(clickedAt, createHash('sha256').update(fileHash).update(`:${line}`).digest());
}
