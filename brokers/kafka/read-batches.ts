import { promisify } from 'node:util';
import { gunzip, zstdDecompress } from 'node:zlib';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { type RecordSlice, readSlice } from '../../contract/sliced-click.ts';
import {
  ATTRIBUTES_AT,
  COUNT_AT,
  CRC_AT,
  FIRST_TIMESTAMP_AT,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_AT,
  RECORDS_AT,
} from './batch-layout.ts';
import { unreadableBatch } from './explain.ts';
import type { AbortedTransaction } from './fetch.ts';

const MAGIC = 2;
const COMPRESSION = 0b111;
/** The broker has set the time of all records: the highest timestamp. */
const LOG_APPEND_TIME = 1 << 3;
const TRANSACTIONAL = 1 << 4;
const CONTROL = 1 << 5;
/** The type in the key of a control record that ends an aborted transaction. */
const ABORT = 0;
/** Bytes of a varint of 32 bits. */
const VARINT_BYTES_MAX = 5;

const DECOMPRESS: Readonly<Record<number, (bytes: Buffer) => Promise<Buffer>>> = {
  1: promisify(gunzip) as (bytes: Buffer) => Promise<Buffer>,
  4: promisify(zstdDecompress) as (bytes: Buffer) => Promise<Buffer>,
};
const COMPRESSION_NAMES = ['none', 'gzip', 'Snappy', 'LZ4', 'zstd'] as const;

/** What was read of a partition. */
export type ReadBatches = {
  readonly records: readonly ReadRecord[];
  /** The offset after the last one that was read, also of control records and of those that were aborted. */
  readonly next: number;
};

/** The CRC-32C of bytes. */
export type Crc32c = (bytes: Buffer) => number;

/**
 * Reads the records of a partition's batches from the offset `from` on, without those of aborted transactions. `place` is the partition, such as
 * `clicks/3`. A batch that is cut off at the end is left out. Throws `kafka_compression` for a batch that cannot be decompressed, and
 * `kafka` (retryable) for one that was damaged on its way.
 */
export async function readBatches(
  bytes: Buffer,
  aborted: readonly AbortedTransaction[],
  { from, place, crc32c }: { from: number; place: string; crc32c: Crc32c },
): Promise<ReadBatches> {
  const records: ReadRecord[] = [];
  const slice = emptySlice(bytes, place);
  const skipped = new AbortedProducers(aborted);
  let next = from;
  for (let at = 0; at + RECORDS_AT <= bytes.length; ) {
    const end = at + LEADER_EPOCH_AT + bytes.readInt32BE(at + LENGTH_AT);
    if (end > bytes.length) break;
    const batch = bytes.subarray(at, end);
    at = end;
    const first = Number(batch.readBigInt64BE(0));
    const last = first + batch.readInt32BE(LAST_OFFSET_DELTA_AT);
    if (last < from) continue;
    assertIntact(batch, first, place, crc32c);
    const isSkipped = skipped.isSkipped(batch, first);
    next = last + 1;
    if (isSkipped) continue;
    const plain = await decompress(batch, first, place);
    readRecords(batch, plain, { first, from }, slice, records);
  }
  return { records, next };
}

function assertIntact(batch: Buffer, first: number, place: string, crc32c: Crc32c): void {
  const magic = batch.readInt8(MAGIC_AT);
  if (magic !== MAGIC)
    throw new TollwayError(
      'kafka',
      `Expected record batches of version ${MAGIC}, got ${magic} at ${place}@${first}`,
    );
  if (batch.readUInt32BE(CRC_AT) === crc32c(batch.subarray(ATTRIBUTES_AT)) >>> 0) return;
  const message = `The checksum of the record batch at ${place}@${first} is wrong: it was damaged on its way or on the disk of the broker`;
  throw new TollwayError('kafka', message, { retryable: true });
}

/** Knows which batches hold no records of committed transactions. */
class AbortedProducers {
  private readonly coming: AbortedTransaction[];
  private readonly current = new Set<bigint>();

  constructor(aborted: readonly AbortedTransaction[]) {
    this.coming = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Whether a batch holds a marker, or records of an aborted transaction. Call it for each batch in order. */
  isSkipped(batch: Buffer, first: number): boolean {
    const attributes = batch.readInt16BE(ATTRIBUTES_AT);
    if ((attributes & (TRANSACTIONAL | CONTROL)) === 0) return false;
    const producerId = batch.readBigInt64BE(PRODUCER_AT);
    for (let one = this.coming[0]; one !== undefined && one.firstOffset <= first; one = this.coming[0]) {
      this.current.add(one.producerId);
      this.coming.shift();
    }
    if ((attributes & CONTROL) === 0) return this.current.has(producerId);
    if (isAbort(batch)) this.current.delete(producerId);
    return true;
  }
}

/** Whether a control batch ends an aborted transaction. Its single record has a key of two numbers: version and type. */
function isAbort(batch: Buffer): boolean {
  const slice = emptySlice(batch, '');
  new RecordCursor(batch, RECORDS_AT).read(0, slice);
  return slice.keyEnd - slice.keyStart >= 4 && batch.readInt16BE(slice.keyStart + 2) === ABORT;
}

/** The records of a batch, and where they begin. */
async function decompress(
  batch: Buffer,
  first: number,
  place: string,
): Promise<{ bytes: Buffer; at: number }> {
  const method = batch.readInt16BE(ATTRIBUTES_AT) & COMPRESSION;
  if (method === 0) return { bytes: batch, at: RECORDS_AT };
  const decompressBytes = DECOMPRESS[method];
  const name = COMPRESSION_NAMES[method] ?? `compression ${method}`;
  const [topic = '', partition = ''] = place.split('/');
  const at = `${partition}@${first}`;
  if (decompressBytes === undefined) throw unreadableBatch(topic, `it is compressed with ${name}`, at);
  try {
    return { bytes: await decompressBytes(batch.subarray(RECORDS_AT)), at: 0 };
  } catch (error) {
    throw unreadableBatch(topic, `${name}: ${errorMessage(error)}`, at);
  }
}

function readRecords(
  batch: Buffer,
  { bytes, at }: { bytes: Buffer; at: number },
  { first, from }: { first: number; from: number },
  slice: RecordSlice,
  records: ReadRecord[],
): void {
  const cursor = new RecordCursor(bytes, at);
  const isAppendTime = (batch.readInt16BE(ATTRIBUTES_AT) & LOG_APPEND_TIME) !== 0;
  const timeMs = Number(batch.readBigInt64BE(isAppendTime ? MAX_TIMESTAMP_AT : FIRST_TIMESTAMP_AT));
  slice.bytes = bytes;
  const count = batch.readInt32BE(COUNT_AT);
  for (let index = 0; index < count; index += 1) {
    const delayMs = cursor.read(first, slice);
    slice.publishedAt = isAppendTime ? timeMs : timeMs + delayMs;
    if (slice.offset >= from) records.push(readSlice(slice));
  }
}

function emptySlice(bytes: Buffer, place: string): RecordSlice {
  const none = { keyStart: -1, keyEnd: -1, valueStart: -1, valueEnd: -1 };
  return { bytes, ...none, place, offset: 0, publishedAt: 0 };
}

/** Reads the records of a batch one after the other. */
class RecordCursor {
  private readonly bytes: Buffer;
  private at: number;

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  /**
   * Reads where the key and the value of the next record lie. Skips its headers. Returns its time after that of the batch, in ms. Throws
   * `RangeError` if the record is not complete.
   */
  read(first: number, slice: RecordSlice): number {
    const length = this.varint();
    const end = this.at + length;
    if (length < 0 || end > this.bytes.length) throw new RangeError('A record is longer than its batch');
    this.at += 1; // The attributes.
    const delayMs = this.varlong();
    slice.offset = first + this.varint();
    const keyBytes = this.varint();
    slice.keyStart = keyBytes < 0 ? -1 : this.at;
    slice.keyEnd = this.at + Math.max(0, keyBytes);
    this.at = slice.keyEnd;
    const valueBytes = this.varint();
    slice.valueStart = valueBytes < 0 ? -1 : this.at;
    slice.valueEnd = this.at + Math.max(0, valueBytes);
    if (slice.valueEnd > end) throw new RangeError('A key or a value is longer than its record');
    this.at = end;
    return delayMs;
  }

  /** A number of 32 bits, zigzag-encoded. https://protobuf.dev/programming-guides/encoding/#signed-ints */
  private varint(): number {
    let number = 0;
    for (let shift = 0; shift < 7 * VARINT_BYTES_MAX; shift += 7) {
      const byte = this.bytes[this.at] ?? 0;
      this.at += 1;
      number |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return (number >>> 1) ^ -(number & 1);
  }

  /** The same of 64 bits. Numbers beyond the safe integers are not exact. */
  private varlong(): number {
    let number = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.bytes[this.at] ?? 0;
      this.at += 1;
      number += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
    }
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  }
}
