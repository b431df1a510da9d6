import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { linesOf, textChunks } from '../common/text-file.ts';
import { unixMs } from '../common/unix-time.ts';
import { canonicalUuid, isUuidV7, uuidV7From, uuidV7TimeMs } from '../common/uuid.ts';
import { CLICK_BYTES_MAX, CLICK_VERSION, type ReadRecord, type Unreadable } from '../contract/click-event.ts';
import { readRecord } from '../contract/read-record.ts';
import { isObject } from './events/bad-event.ts';

/** Defaults of fields that an event can omit. None of them changes what is charged. */
const DEFAULTS = {
  nonce: null,
  invalid: null,
  budgetExhausted: false,
  visitorNetwork: null,
  userAgent: null,
  referrerHost: null,
};

/** Opens the file from its beginning. It is read twice and must have the same content both times. */
export type OpenFile = () => Promise<Readable>;

/**
 * Reads a file of clicks, plain or gzip, with one JSON click event a line, `count` of them at a time. Every line becomes a record; one that
 * is not a click becomes a dead letter with its bytes. Empty lines are skipped.
 *
 * An event without a `clickId` gets a UUIDv7 made of its time, the file's hash and its line number, so that the same file, compressed or
 * not, always yields the same clicks. The hash takes a first pass over the whole file, so nothing of a truncated file is charged. Throws
 * `bad_file`, or what reading throws.
 */
export async function* readClickFile(
  name: string,
  open: OpenFile,
  count: number,
): AsyncGenerator<ReadRecord[]> {
  const hash = createHash('sha256');
  for await (const chunk of textChunks(name, await open())) hash.update(chunk);
  const fileHash = hash.digest();
  const file = `file ${fileHash.toString('hex', 0, 8)}`;
  let records: ReadRecord[] = [];
  let number = 0;
  for await (const line of linesOf(textChunks(name, await open()), CLICK_BYTES_MAX)) {
    number += 1;
    if (line.length === 0) continue;
    records.push(readLine(line, fileHash, number, `${file} line ${number}`));
    if (records.length < count) continue;
    yield records;
    records = [];
  }
  if (records.length > 0) yield records;
}

function readLine(line: Buffer, fileHash: Buffer, number: number, position: string): ReadRecord {
  const asRecord = () => noClick(readRecord({ key: null, value: line }, position), line);
  if (line.length > CLICK_BYTES_MAX) return asRecord();
  let event: unknown;
  try {
    event = JSON.parse(line.toString());
  } catch {
    return asRecord();
  }
  if (!isObject(event)) return asRecord();
  const read = readEvent(event, fileHash, number, position);
  return read.is === 'click' ? read : noClick(read, line);
}

/**
 * Reads the event in line `number` of the file with that SHA-256, and adds the fields that it omits. The same event in the same line yields
 * the same click. The record key is the click id.
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
  const derivedId = clickedAt === null ? undefined : idOf(clickedAt, fileHash, number);
  const clickId = canonicalUuid(event.clickId ?? derivedId);
  const complete = { v: CLICK_VERSION, ...DEFAULTS, ...event, clickId, clickedAt };
  const key = typeof clickId === 'string' ? clickId : null;
  return readRecord({ key, value: Buffer.from(JSON.stringify(complete)) }, position);
}

/** The record of a line that is not a click. It has no key: a line of a file settles no sequence of a spool and is no watermark. */
function noClick(read: ReadRecord, line: Buffer): Unreadable {
  const { reason, detail } =
    read.is === 'unreadable'
      ? read
      : ({ reason: 'malformed', detail: `Expected a click, got a ${read.is}` } as const);
  return { is: 'unreadable', key: null, value: line, position: read.position, from: null, reason, detail };
}

/** Unix ms of a click: its `clickedAt`, as {@link unixMs} reads it, or the time of its id. `null` if it has neither. */
export function timeOf({ clickedAt, clickId: given }: Readonly<Record<string, unknown>>): number | null {
  const clickId = canonicalUuid(given);
  if (clickedAt === undefined && typeof clickId === 'string' && isUuidV7(clickId))
    return uuidV7TimeMs(clickId);
  return unixMs(clickedAt);
}

/** The id of a click without one. */
function idOf(clickedAt: number, fileHash: Buffer, line: number): string {
  return uuidV7From(clickedAt, createHash('sha256').update(fileHash).update(`:${line}`).digest());
}
