import { type BrokerRecord, encodedTraceparent, isWatermarkKey } from '../../contract/click-event.ts';
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
import { CLICK_TYPE, HEADERS, ID, TRACEPARENT, TYPE, WATERMARK_TYPE } from './cloud-event.ts';

/** Bytes of a record besides its value and twice its key, with every header: at most this many. */
const RECORD_OVERHEAD_BYTES = 300;

/** How the records of a batch are compressed; `attribute` is the number of the method in Kafka. */
export type Compression = {
  readonly attribute: number;
  readonly compress: (bytes: Buffer) => Promise<Buffer>;
};

/** The highest number of bytes that a record takes in a batch. */
export function recordBytesMax({ key, value }: BrokerRecord): number {
  // UTF-8 has at most 3 bytes for each UTF-16 code unit.
  return RECORD_OVERHEAD_BYTES + 6 * (key?.length ?? 0) + (value?.length ?? 0);
}

/**
 * Encodes at least one record as one batch with the headers of CloudEvents. It has no producer id, so it is not idempotent. `crc32c` is the
 * CRC-32C of bytes.
 */
export async function encodeBatch(
  records: readonly BrokerRecord[],
  timestampMs: number,
  crc32c: (bytes: Buffer) => number,
  compression: Compression | null,
): Promise<Buffer> {
  let batch = encodeRecords(records);
  if (compression !== null) {
    const compressed = await compression.compress(batch.subarray(RECORDS_AT));
    batch = Buffer.concat([batch.subarray(0, RECORDS_AT), compressed]);
  }
  batch.fill(0, 0, RECORDS_AT);
  batch.writeInt32BE(batch.length - LEADER_EPOCH_AT, LENGTH_AT);
  batch.writeInt32BE(-1, LEADER_EPOCH_AT);
  batch.writeInt8(2, MAGIC_AT);
  batch.writeInt16BE(compression?.attribute ?? 0, ATTRIBUTES_AT);
  batch.writeInt32BE(records.length - 1, LAST_OFFSET_DELTA_AT);
  batch.writeBigInt64BE(BigInt(timestampMs), FIRST_TIMESTAMP_AT);
  batch.writeBigInt64BE(BigInt(timestampMs), MAX_TIMESTAMP_AT);
  // No producer id, epoch and sequence: all bits are set.
  batch.fill(0xff, PRODUCER_AT, COUNT_AT);
  batch.writeInt32BE(records.length, COUNT_AT);
  batch.writeUInt32BE(crc32c(batch.subarray(ATTRIBUTES_AT)), CRC_AT);
  return batch;
}

/** Returns the records behind space for the header of the batch. */
function encodeRecords(records: readonly BrokerRecord[]): Buffer {
  let bytesMax = RECORDS_AT;
  for (const record of records) bytesMax += recordBytesMax(record);
  const bytes = Buffer.allocUnsafe(bytesMax);
  let at = RECORDS_AT;
  for (let index = 0; index < records.length; index += 1) {
    const record = records[index];
    if (record) at = writeRecord(bytes, at, record, index);
  }
  return bytes.subarray(0, at);
}

/** The bytes of a header: length and bytes of its name, then of its value. */
function header(name: string, value: Buffer): Buffer {
  const bytes = Buffer.alloc(name.length + value.length + 10);
  let at = writeVarint(bytes, 0, name.length);
  at += bytes.write(name, at, 'latin1');
  at = writeVarint(bytes, at, value.length);
  at += value.copy(bytes, at);
  return bytes.subarray(0, at);
}

const HEADER_COUNT = Object.keys(HEADERS).length + 2;
/** The headers before the id, and the name of the id. */
const BEFORE_ID = Buffer.concat([
  ...Object.entries(HEADERS).map(([name, value]) => header(name, value)),
  header(ID, Buffer.alloc(0)).subarray(0, -1),
]);
const CLICK_TYPE_HEADER = header(TYPE, CLICK_TYPE);
const WATERMARK_TYPE_HEADER = header(TYPE, WATERMARK_TYPE);

/** Writes a record at `at` and returns the offset behind it. */
function writeRecord(bytes: Buffer, at: number, { key, value }: BrokerRecord, offsetDelta: number): number {
  const keyBytes = key === null ? 0 : Buffer.byteLength(key);
  const valueBytes = value?.length ?? 0;
  const traceparent = value === null ? null : encodedTraceparent(value);
  const trace = traceparent === null ? null : header(TRACEPARENT, Buffer.from(traceparent, 'latin1'));
  const type = isWatermarkKey(key) ? WATERMARK_TYPE_HEADER : CLICK_TYPE_HEADER;
  // Attributes, difference of the time and number of headers have a byte each.
  const length =
    3 +
    varintBytes(offsetDelta) +
    (key === null ? 1 : varintBytes(keyBytes) + keyBytes) +
    (value === null ? 1 : varintBytes(valueBytes) + valueBytes) +
    BEFORE_ID.length +
    varintBytes(keyBytes) +
    keyBytes +
    type.length +
    (trace?.length ?? 0);
  let next = writeVarint(bytes, at, length);
  bytes[next] = 0;
  bytes[next + 1] = 0;
  next = writeVarint(bytes, next + 2, offsetDelta);
  next = writeVarint(bytes, next, key === null ? -1 : keyBytes);
  const keyAt = next;
  if (key !== null) next += bytes.write(key, next);
  next = writeVarint(bytes, next, value === null ? -1 : valueBytes);
  if (value !== null) bytes.set(value, next);
  next = writeVarint(bytes, next + valueBytes, HEADER_COUNT + (trace === null ? 0 : 1));
  bytes.set(BEFORE_ID, next);
  next = writeVarint(bytes, next + BEFORE_ID.length, keyBytes);
  bytes.copyWithin(next, keyAt, keyAt + keyBytes);
  next += keyBytes;
  bytes.set(type, next);
  next += type.length;
  if (trace !== null) bytes.set(trace, next);
  return next + (trace?.length ?? 0);
}

/** Writes a number as a zigzag varint and returns the offset behind it. */
function writeVarint(bytes: Buffer, at: number, value: number): number {
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  let next = at;
  while (rest > 0x7f) {
    bytes[next] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
    next += 1;
  }
  bytes[next] = rest;
  return next + 1;
}

/** Number of bytes of a number of at least 0 as a zigzag varint. */
function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value >> 6; rest > 0; rest >>= 7) bytes += 1;
  return bytes;
}
