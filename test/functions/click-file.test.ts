import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { uuidV7TimeMs } from '../../common/uuid.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { readClickFile } from '../../processor/click-file.ts';

const AD = { adId: 1, campaignId: 1, advertiserId: 1, priceMicros: 250_000 };
const AT = Date.UTC(2026, 0, 31, 12);
const CLICK_ID = '019b76da-a800-7abc-9def-0123456789ab';

/** Reads bytes as a file in chunks of a given size. */
async function read(bytes: Buffer, pieceBytes = 7): Promise<ReadRecord[]> {
  const pieces = () =>
    Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, index) =>
      bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
    );
  const records: ReadRecord[] = [];
  for await (const some of readClickFile('test', async () => Readable.from(pieces()), 3))
    records.push(...some);
  return records;
}

const fileOf = (...lines: (object | string)[]) =>
  Buffer.from(lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
const idsOf = (records: readonly ReadRecord[]) =>
  records.map((record) => (record.is === 'click' ? record.click.clickId : record.is));

it('reads events with and without ids, with times as numbers or texts, and a last line without a line break', async () => {
  const records = await read(
    fileOf({ ...AD, clickId: CLICK_ID }, { ...AD, clickedAt: AT }, '', {
      ...AD,
      clickedAt: '2026-01-31T12:00:00Z',
    }),
  );
  expect(records.map(({ is }) => is)).toEqual(['click', 'click', 'click']);
  const [given, made, other] = idsOf(records);
  expect(given).toBe(CLICK_ID);
  expect(made).not.toBe(other);
  for (const id of [made, other]) expect(uuidV7TimeMs(id ?? '')).toBe(AT);
  expect(records.map(({ key, from }) => [key, from])).toEqual([given, made, other].map((id) => [id, null]));
});

it('derives the same ids from the same file, plain or gzip, and different ones from another file', async () => {
  const file = fileOf({ ...AD, clickedAt: AT }, { ...AD, clickedAt: AT + 1 });
  const ids = idsOf(await read(file));
  expect(idsOf(await read(file, 1_000))).toEqual(ids);
  expect(idsOf(await read(gzipSync(file)))).toEqual(ids);
  expect(idsOf(await read(gzipSync(file, { level: 1 }), 1))).toEqual(ids);
  const another = idsOf(await read(fileOf({ ...AD, clickedAt: AT }, { ...AD, clickedAt: AT + 2 })));
  expect(another).not.toContain(ids[0]);
});

it('derives the same ids from a file with a byte order mark, and reads its first line', async () => {
  const file = fileOf({ ...AD, clickedAt: AT }, { ...AD, clickedAt: AT + 1 });
  const marked = Buffer.concat([Buffer.from('\ufeff'), file]);
  expect(idsOf(await read(marked))).toEqual(idsOf(await read(file)));
  expect(idsOf(await read(gzipSync(marked)))).toEqual(idsOf(await read(file)));
});

it('reads times in seconds and ids in upper case', async () => {
  const records = await read(
    fileOf({ ...AD, clickedAt: AT / 1_000 }, { ...AD, clickId: CLICK_ID.toUpperCase() }),
  );
  expect(records).toMatchObject([
    { is: 'click', click: { clickedAt: AT } },
    { is: 'click', key: CLICK_ID, click: { clickId: CLICK_ID } },
  ]);
});

it.each(['utf16le', 'zst'])('refuses a file in %s', async (encoding) => {
  const text = JSON.stringify({ ...AD, clickedAt: AT });
  const bytes = encoding === 'zst' ? zstdCompressSync(text) : Buffer.from(text, 'utf16le');
  await expect(read(bytes)).rejects.toMatchObject({ code: 'bad_file' });
});

it('derives ids by the documented formula', async () => {
  // UUIDv7 of the time, then SHA-256 of the file's hash and ":<line>".
  const [id] = idsOf(await read(fileOf({ ...AD, clickedAt: AT })));
  expect(id).toMatchInlineSnapshot(`"019c13ec-9e00-79a8-999c-64befc8e7549"`);
});

it('keeps invalid lines with their bytes, and reads the lines after them', async () => {
  const long = `{"userAgent":"${'x'.repeat(20_000)}"}`;
  const records = await read(
    fileOf(
      'no json',
      { ...AD, clickedAt: AT },
      '[1]',
      { adId: 1, clickedAt: AT },
      long,
      { ...AD },
      { ...AD, clickedAt: AT },
    ),
    1_000,
  );
  expect(records.map(({ is }) => is)).toEqual([
    'unreadable',
    'click',
    'unreadable',
    'unreadable',
    'unreadable',
    'unreadable',
    'click',
  ]);
  expect(records[0]?.value?.toString()).toBe('no json');
  expect(records[4]?.value?.length).toBeLessThan(10_000);
  expect(new Set(records.map(({ position }) => position)).size).toBe(7);
  expect(records[6]?.position).toMatch(/^file [0-9a-f]{16} line 7$/);
});

it('rejects lines that are watermarks, or have a record key as id', async () => {
  const watermark = { v: 1, watermark: { spoolId: CLICK_ID, accepted: 1_000 } };
  const forged = { ...AD, clickId: `${CLICK_ID}.5`, clickedAt: AT };
  for (const line of [watermark, { ...watermark, clickedAt: AT }, forged]) {
    expect(await read(fileOf(line))).toMatchObject([
      { is: 'unreadable', reason: 'malformed', key: null, from: null, value: fileOf(line) },
    ]);
  }
});

it('rejects times without a zone, which would depend on the time zone of the machine', async () => {
  const at = ['2026-01-31T12:00:00', '2026-01-31', 'Jan 31 2026', '2026-01-31T12:00:00+01:00'];
  const records = await read(fileOf(...at.map((clickedAt) => ({ ...AD, clickedAt }))));
  expect(records.map(({ is }) => is)).toEqual(['unreadable', 'unreadable', 'unreadable', 'click']);
  expect(records[0]).toMatchObject({
    detail:
      'Expected a time in clickedAt (RFC 3339 with its zone, Unix seconds or ms), got "2026-01-31T12:00:00"',
  });
  expect(uuidV7TimeMs(idsOf(records)[3] ?? '')).toBe(AT - 3_600_000);
});

it('refuses a truncated or damaged gzip file with an error that names it', async () => {
  const packed = gzipSync(
    fileOf(...Array.from({ length: 500 }, (_, index) => ({ ...AD, clickedAt: AT + index }))),
  );
  const seen: ReadRecord[] = [];
  for (const bytes of [
    packed.subarray(0, packed.length - 9),
    packed.subarray(0, 40),
    Buffer.concat([packed.subarray(0, 300), packed.subarray(340)]),
  ]) {
    const reading = (async () => {
      for await (const some of readClickFile(
        'lambda-file: s3://b/k.gz',
        async () => Readable.from([bytes]),
        3,
      ))
        seen.push(...some);
    })();
    await expect(reading).rejects.toMatchObject({
      code: 'bad_file',
      message: expect.stringMatching(/^lambda-file: s3:\/\/b\/k\.gz: expected a complete gzip file/),
    });
  }
  expect(seen).toEqual([]);
});

it('reads no clicks from an empty file', async () => {
  expect(await read(Buffer.alloc(0))).toEqual([]);
  expect(await read(gzipSync(''))).toEqual([]);
});

it('passes on read errors', async () => {
  const broken = () =>
    Readable.from(
      (async function* () {
        yield gzipSync('{}').subarray(0, 12);
        throw new Error('the line is dead');
      })(),
    );
  const reading = (async () => {
    for await (const _ of readClickFile('test', async () => broken(), 3));
  })();
  await expect(reading).rejects.toThrow('the line is dead');
});
