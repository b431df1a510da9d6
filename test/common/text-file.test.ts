import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { linesOf, textChunks } from '../../common/text-file.ts';

const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/** The lines of a file that is read in chunks of a given size. */
async function lines(bytes: Buffer, pieceBytes = 1, bytesMax = 100): Promise<string[]> {
  const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, index) =>
    bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  );
  const read: string[] = [];
  for await (const line of linesOf(textChunks('f', Readable.from(pieces)), bytesMax)) read.push(String(line));
  return read;
}

describe('a text file', () => {
  it('loses its byte order mark, with and without gzip, for any size of chunks', async () => {
    const file = Buffer.concat([BOM, Buffer.from('one\r\ntwo')]);
    for (const bytes of [file, gzipSync(file)])
      for (const pieceBytes of [1, 2, 3, 4, 1_000])
        expect(await lines(bytes, pieceBytes)).toEqual(['one', 'two']);
    expect(await lines(BOM)).toEqual([]);
  });

  it('loses the byte order marks in the middle of concatenated files', async () => {
    const one = Buffer.concat([BOM, Buffer.from('one\n')]);
    expect(await lines(Buffer.concat([one, one]))).toEqual(['one', 'one']);
    expect(await lines(Buffer.concat([gzipSync(one), gzipSync(one)]), 7)).toEqual(['one', 'one']);
  });

  it('has the same text with and without the byte order mark', async () => {
    const bytesOf = async (file: Buffer) => {
      const chunks: Buffer[] = [];
      for await (const chunk of textChunks('f', Readable.from([file]))) chunks.push(chunk);
      return Buffer.concat(chunks).toString('hex');
    };
    const text = Buffer.from('one\ntwo');
    expect(await bytesOf(Buffer.concat([BOM, text]))).toBe(await bytesOf(text));
  });

  it('has an overlong line cut to one byte more than the limit, also with a byte order mark and a CR', async () => {
    const long = 'x'.repeat(11);
    for (const text of [long, `${long}\r`, `\ufeff${long}`, `\ufeff${long}${long}`])
      expect(await lines(Buffer.from(`${text}\nshort\n`), 5, 10)).toEqual([long, 'short']);
    // After the first line, the mark does not count either.
    expect(await lines(Buffer.from(`a\n\ufeff${long}\r\n`), 5, 10)).toEqual(['a', long]);
    for (const text of ['x'.repeat(10), `\ufeff${'x'.repeat(10)}\r`, `\n\ufeff${'x'.repeat(10)}\r`])
      expect((await lines(Buffer.from(text), 5, 10)).at(-1)).toBe('x'.repeat(10));
  });

  const utf16 = Buffer.from('{"adId":1}', 'utf16le');
  const utf32 = Buffer.concat([...'{}'].map((character) => Buffer.from([character.charCodeAt(0), 0, 0, 0])));
  it.each([
    ['UTF-16', Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])],
    ['UTF-16', Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(utf16).swap16()])],
    ['UTF-16', utf16],
    ['UTF-16', Buffer.from(utf16).swap16()],
    ['UTF-32', Buffer.concat([Buffer.from([0xff, 0xfe, 0, 0]), utf32])],
    ['Zstandard (.zst)', zstdCompressSync('{"adId":1}\n')],
    ['bzip2', Buffer.from('BZh91AY')],
  ])('in %s is refused by name, also in a gzip file', async (is, bytes) => {
    for (const file of [bytes, gzipSync(bytes)]) {
      const reading = lines(file, 1);
      await expect(reading).rejects.toMatchObject({
        code: 'bad_file',
        message: expect.stringContaining(
          `f: expected UTF-8 text, plain or gzip, got ${is}. Convert it first: `,
        ),
      });
    }
  });

  it('is closed when its reader stops early', async () => {
    for (const bytes of [Buffer.from('a\nb\n'), gzipSync('a\nb\n')]) {
      const file = Readable.from([bytes]);
      for await (const _ of linesOf(textChunks('f', file), 10)) break;
      expect(file.destroyed).toBe(true);
    }
  });

  it('is closed when it is refused', async () => {
    for (const bytes of [utf16, gzipSync(utf16)]) {
      const file = Readable.from([bytes, bytes]);
      await expect(linesOf(textChunks('f', file), 10).next()).rejects.toMatchObject({ code: 'bad_file' });
      expect(file.destroyed).toBe(true);
    }
  });
});
