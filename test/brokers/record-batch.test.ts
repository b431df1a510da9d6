import { promisify } from 'node:util';
import { gzip, zstdCompress } from 'node:zlib';
import { crc32c, Reader, readRecordsBatch } from '@platformatic/kafka';
import { describe, expect, it } from 'vitest';
import { encodeBatch, recordBytesMax } from '../../brokers/kafka/record-batch.ts';
import { type BrokerRecord, clickKey, watermarkRecord } from '../../contract/click-event.ts';
import { clickRecord } from '../support/records.ts';

const SPOOL = '01a21ba3-3a96-7672-ba84-7f2368bf3f75';
const TIME = 1_798_352_011_123;
const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

const encode = (records: readonly BrokerRecord[]) => encodeBatch(records, TIME, crc32c, null);
const decode = (batch: Buffer) => readRecordsBatch(Reader.from(batch));
/** The headers of a record that the library has decoded, in their order. */
const headersOf = (headers: readonly (readonly [Buffer | null, Buffer | null])[]) =>
  headers.map(([name, value]) => [String(name), String(value)]);
const cloudEvent = (id: string, type: string) => [
  ['content-type', 'application/json'],
  ['ce_specversion', '1.0'],
  ['ce_source', '/tollway/ad-server'],
  ['ce_dataschema', 'urn:tollway:click:1'],
  ['ce_id', id],
  ['ce_type', type],
];

describe('a record batch for Kafka', () => {
  it('has the keys, values and headers of clicks, traced clicks and watermarks', async () => {
    const click = { key: clickKey(SPOOL, 1), value: clickRecord().value };
    const traced = { key: clickKey(SPOOL, 2), value: clickRecord({ traceparent: TRACEPARENT }).value };
    const watermark = watermarkRecord(SPOOL, 2);
    const { records, ...batch } = decode(await encode([click, traced, watermark]));
    expect(records.map(({ key, value }) => ({ key: String(key), value }))).toEqual([
      click,
      traced,
      watermark,
    ]);
    expect(records.map(({ headers }) => headersOf(headers))).toEqual([
      cloudEvent(click.key, 'tollway.click'),
      [...cloudEvent(traced.key, 'tollway.click'), ['ce_traceparent', TRACEPARENT]],
      cloudEvent(String(watermark.key), 'tollway.watermark'),
    ]);
    expect(records.map(({ offsetDelta, timestampDelta }) => [offsetDelta, timestampDelta])).toEqual([
      [0, 0n],
      [1, 0n],
      [2, 0n],
    ]);
    expect(batch).toMatchObject({
      firstOffset: 0n,
      magic: 2,
      attributes: 0,
      lastOffsetDelta: 2,
      firstTimestamp: BigInt(TIME),
      maxTimestamp: BigInt(TIME),
      producerId: -1n,
      producerEpoch: -1,
      firstSequence: -1,
    });
  });

  it('has a length and a CRC-32C that fit its bytes', async () => {
    const batch = await encode([clickRecord()]);
    expect(batch.readInt32BE(8)).toBe(batch.length - 12);
    expect(batch.readUInt32BE(17)).toBe(crc32c(batch.subarray(21)));
    // The check value of CRC-32C; https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  });

  it('has keys and values of every length, none, and of every character', async () => {
    const lengths = [0, 1, 62, 63, 64, 65, 127, 128, 8_191, 8_192];
    const some: BrokerRecord[] = [
      ...lengths.map((length) => ({ key: 'k', value: Buffer.alloc(length, 'v') })),
      ...lengths.map((length) => ({ key: 'k'.repeat(length), value: Buffer.from('v') })),
      { key: 'ключ €𝄞', value: Buffer.from([0, 255, 128]) },
      { key: '', value: null },
      { key: null, value: Buffer.from('{}') },
      { key: null, value: null },
    ];
    const { records } = decode(await encode(some));
    expect(records.map(({ key, value }) => ({ key: key === null ? null : String(key), value }))).toEqual(
      some,
    );
    const ids = records.map(({ headers }) => new Map(headersOf(headers) as [string, string][]).get('ce_id'));
    expect(ids).toEqual(some.map(({ key }) => key ?? ''));
  });

  it('has values of a length of four bytes', async () => {
    const value = Buffer.alloc(2_097_152, 'v');
    const { records } = decode(await encode([{ key: 'k', value }, clickRecord()]));
    expect(records.map(({ key }) => String(key)).at(0)).toBe('k');
    expect(records[0]?.value?.equals(value)).toBe(true);
  });

  it('has more records than a byte can count', async () => {
    const some = Array.from({ length: 10_000 }, (_, index) => ({
      key: clickKey(SPOOL, index + 1),
      value: Buffer.from('{}'),
    }));
    const { records } = decode(await encode(some));
    expect(records.map(({ key }) => String(key))).toEqual(some.map(({ key }) => key));
    expect(records.map(({ offsetDelta }) => offsetDelta)).toEqual(some.map((_, index) => index));
  });

  it('is never longer than the sum of the limits of its records', async () => {
    const traced = clickRecord({ traceparent: TRACEPARENT });
    for (const record of [traced, { key: '€'.repeat(60), value: null }, watermarkRecord(SPOOL, 1)])
      expect((await encode([record])).length).toBeLessThanOrEqual(61 + recordBytesMax(record));
  });

  it.each([
    ['gzip', 1, promisify(gzip)],
    ['zstd', 4, promisify(zstdCompress)],
  ] as const)('is compressed with %s', async (_, attribute, compress) => {
    const some = Array.from({ length: 100 }, () => clickRecord());
    const plain = await encode(some);
    const batch = await encodeBatch(some, TIME, crc32c, { attribute, compress });
    expect(batch.length).toBeLessThan(plain.length / 2);
    expect(decode(batch)).toMatchObject({ attributes: attribute, records: decode(plain).records });
  });
});
