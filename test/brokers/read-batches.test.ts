import { promisify } from 'node:util';
import { gzip, zstdCompress } from 'node:zlib';
import { crc32c } from '@platformatic/kafka';
import { describe, expect, it } from 'vitest';
import { readBatches } from '../../brokers/kafka/read-batches.ts';
import { encodeBatch } from '../../brokers/kafka/record-batch.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { type BrokerRecord, clickKey, encodeClick } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { clickEvent } from '../support/records.ts';

const PLACE = 'clicks/3';
const PUBLISHED_AT = 1_800_000_000_000;
const TRANSACTIONAL = 1 << 4;
const CONTROL = 1 << 5;
const COMMIT = 1;
const ABORT = 0;
const gzipMethod = { attribute: 1, compress: promisify(gzip) as (bytes: Buffer) => Promise<Buffer> };
const zstdMethod = { attribute: 4, compress: promisify(zstdCompress) as (bytes: Buffer) => Promise<Buffer> };
const spoolId = uuidV7();

const clicks = (count: number, from = 1): BrokerRecord[] =>
  Array.from({ length: count }, (_, index) => ({
    key: clickKey(spoolId, from + index),
    value: Buffer.from(encodeClick(clickEvent())),
  }));

type BatchOptions = {
  readonly attributes?: number;
  readonly producerId?: bigint;
  readonly method?: typeof gzipMethod;
};

/** A batch as a broker stores it, from the offset `first` on. */
async function batchAt(
  first: number,
  records: readonly BrokerRecord[],
  options: BatchOptions = {},
): Promise<Buffer> {
  const batch = await encodeBatch(records, PUBLISHED_AT, crc32c, options.method ?? null);
  batch.writeBigInt64BE(BigInt(first), 0);
  if (options.attributes !== undefined) batch.writeInt16BE(batch.readInt16BE(21) | options.attributes, 21);
  if (options.producerId !== undefined) batch.writeBigInt64BE(options.producerId, 43);
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

/** The control batch that ends a transaction. */
function marker(first: number, producerId: bigint, type: typeof COMMIT | typeof ABORT): Promise<Buffer> {
  const record = { key: `\0\0\0${String.fromCharCode(type)}`, value: Buffer.alloc(6) };
  return batchAt(first, [record], { attributes: TRANSACTIONAL | CONTROL, producerId });
}

const read = (bytes: Buffer, from = 0, aborted: Parameters<typeof readBatches>[1] = []) =>
  readBatches(bytes, aborted, { from, place: PLACE, crc32c });

describe('the records of a fetch', () => {
  it('are those of readRecord: clicks, watermarks and records of others', async () => {
    const given: BrokerRecord[] = [
      ...clicks(2),
      { key: null, value: Buffer.from(encodeClick(clickEvent({ userAgent: 'é"\\' }))) },
      { key: 'other', value: Buffer.from('x') },
      {
        key: `${spoolId}.watermark`,
        value: Buffer.from(`{"v":1,"watermark":{"spoolId":"${spoolId}","accepted":2}}`),
      },
      { key: clickKey(spoolId, 7), value: null },
      { key: clickKey(uuidV7(), 1), value: Buffer.from(encodeClick(clickEvent({ nonce: uuidV7() }))) },
      { key: `${spoolId}.0`, value: Buffer.from(encodeClick(clickEvent())) },
      { key: `${spoolId}.1x`, value: Buffer.from(encodeClick(clickEvent())) },
    ];
    const { records, next } = await read(await batchAt(40, given), 40);
    expect(next).toBe(49);
    expect(records).toHaveLength(given.length);
    for (const [index, record] of records.entries()) {
      const { is, key, value, position, from, publishedAt } = record;
      const expected = readRecord(given[index] as BrokerRecord, `${PLACE}@${40 + index}`, PUBLISHED_AT);
      expect(publishedAt).toBe(PUBLISHED_AT);
      expect({ is, key, value: value && Buffer.from(value), position, from }).toEqual({
        ...{ is: expected.is, key: expected.key, value: expected.value, position: expected.position },
        from: expected.from,
      });
      if (record.is === 'click' && expected.is === 'click') expect(record.click).toEqual(expected.click);
    }
  });

  it.each([
    ['gzip', gzipMethod],
    ['zstd', zstdMethod],
  ])('can be compressed with %s', async (_, method) => {
    const bytes = Buffer.concat([
      await batchAt(0, clicks(50), { method }),
      await batchAt(50, clicks(50, 51)),
    ]);
    const { records, next } = await read(bytes);
    expect(next).toBe(100);
    expect(records.map(({ from }) => from?.sequence)).toEqual(
      Array.from({ length: 100 }, (__, index) => index + 1),
    );
  });

  it('begin at the offset that was asked for, inside of a batch too', async () => {
    const bytes = Buffer.concat([await batchAt(0, clicks(10)), await batchAt(10, clicks(10, 11))]);
    const { records, next } = await read(bytes, 14);
    expect(records.map(({ position }) => position)).toEqual(
      [14, 15, 16, 17, 18, 19].map((at) => `${PLACE}@${at}`),
    );
    expect(next).toBe(20);
  });

  it('end before a batch that is cut off, at every byte', async () => {
    const [whole, cut] = [await batchAt(0, clicks(3)), await batchAt(3, clicks(2, 4))];
    for (let length = 0; length < cut.length; length += 1) {
      const { records, next } = await read(Buffer.concat([whole, cut.subarray(0, length)]));
      expect({ count: records.length, next }).toEqual({ count: 3, next: 3 });
    }
    expect(await read(Buffer.concat([whole, cut]))).toMatchObject({ next: 5 });
  });

  it('are not those of aborted transactions, nor the markers', async () => {
    const of = (producerId: bigint) => ({ attributes: TRANSACTIONAL, producerId });
    const bytes = Buffer.concat([
      await batchAt(0, clicks(2, 1), of(1n)),
      await batchAt(2, clicks(2, 3), of(2n)),
      await batchAt(4, clicks(1, 5)),
      await marker(5, 1n, ABORT),
      await batchAt(6, clicks(1, 7), of(1n)),
      await marker(7, 2n, COMMIT),
      await marker(8, 1n, COMMIT),
    ]);
    const { records, next } = await read(bytes, 0, [{ producerId: 1n, firstOffset: 0 }]);
    expect(records.map(({ from }) => from?.sequence)).toEqual([3, 4, 5, 7]);
    expect(next).toBe(9);
  });

  it.each(['gzip', 'none'])('are refused if a byte was changed on its way (%s)', async (name) => {
    const bytes = await batchAt(5, clicks(20), name === 'gzip' ? { method: gzipMethod } : {});
    for (let at = 21; at < bytes.length; at += 97) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      await expect(read(damaged, 5)).rejects.toMatchObject({ code: 'kafka', retryable: true });
    }
  });

  it.each([
    [2, 'Snappy'],
    [3, 'LZ4'],
    [7, 'compression 7'],
  ])('cannot be compressed with method %i, %s', async (attribute, name) => {
    const bytes = await batchAt(5, clicks(1), { attributes: attribute });
    await expect(read(bytes, 5)).rejects.toMatchObject({
      code: 'kafka_compression',
      retryable: false,
      message: expect.stringMatching(
        new RegExp(`^KAFKA_TOPIC: clicks holds a batch that cannot be read .*${name}; .*at 3@5\\. Set`),
      ),
    });
  });

  it('are refused in a batch of an older version', async () => {
    const bytes = await batchAt(5, clicks(1));
    bytes[16] = 1;
    await expect(read(bytes, 5)).rejects.toThrow('Expected record batches of version 2, got 1 at clicks/3@5');
  });
});
