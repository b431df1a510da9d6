import { counted } from '../../common/counted.ts';
import type { BrokerRecord, ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';

/**
 * Encodes records as one `bytea` of the Postgres broker. Each record is key length, key, value length, value; lengths are signed 32-bit
 * big-endian integers, −1 for null.
 */
export function encodeChunk(records: readonly BrokerRecord[]): Buffer {
  let length = 0;
  for (const { key, value } of records) {
    length += 8 + (key === null ? 0 : Buffer.byteLength(key)) + (value?.length ?? 0);
  }
  const chunk = Buffer.allocUnsafe(length);
  let at = 0;
  for (const { key, value } of records) {
    const keyLength = key === null ? 0 : chunk.write(key, at + 4);
    chunk.writeInt32BE(key === null ? -1 : keyLength, at);
    at += 4 + keyLength;
    chunk.writeInt32BE(value === null ? -1 : value.length, at);
    at += 4;
    if (value !== null) at += value.copy(chunk, at);
  }
  return chunk;
}

/** Decodes a chunk. The records are views of its bytes. Throws a `RangeError` on bytes that are not a chunk. */
export function decodeChunk(chunk: Buffer): BrokerRecord[] {
  const records: BrokerRecord[] = [];
  let at = 0;
  const read = (): Buffer | null => {
    const length = chunk.readInt32BE(at);
    at += 4;
    if (length < 0) return null;
    if (at + length > chunk.length)
      throw new RangeError(`Expected ${counted(length, 'byte')} at ${at} of ${chunk.length}`);
    at += length;
    return chunk.subarray(at - length, at);
  };
  while (at < chunk.length) {
    const key = read();
    records.push({ key: key === null ? null : key.toString('utf8'), value: read() });
  }
  return records;
}

/** Reads the records of a chunk, which was published at `publishedAt` (Unix ms). A malformed chunk, which another program can have inserted, becomes one foreign record. */
export function readChunk(id: bigint, payload: Buffer, publishedAt?: number): ReadRecord[] {
  const foreign = () => [readRecord({ key: null, value: payload }, `chunk ${id}`)];
  try {
    const records = decodeChunk(payload);
    return records.length === 0
      ? foreign()
      : records.map((record, index) => readRecord(record, `chunk ${id} record ${index}`, publishedAt));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return foreign();
  }
}
