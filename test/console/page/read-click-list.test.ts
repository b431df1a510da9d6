import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { uuidV7 } from '../../../common/uuid.ts';
import { texts } from '../../../console/page/texts.ts';
import { readClickList } from '../../../console/page/views/credits/read-click-list.ts';

const words = texts.credits.list;
const ids = Array.from({ length: 30_000 }, () => uuidV7());
const list = ids.map((id) => `${id}\r\n`).join('');

/** What a list has; for one that is refused what is wrong with its field. */
async function read(...parts: (string | Buffer<ArrayBuffer>)[]) {
  try {
    return await readClickList(new Blob(parts), 'file');
  } catch (error) {
    expect(error).toMatchObject({ fields: [{ pointer: '/file' }] });
    return (error as Error).message;
  }
}

describe('a list of clicks on the page', () => {
  it.each([
    ['plain', Buffer.from(list)],
    ['gzip', gzipSync(list)],
    ['UTF-8 with a byte order mark', Buffer.from(`\ufeff${list}`)],
    ['UTF-16 with a byte order mark', Buffer.from(`\ufeff${list}`, 'utf16le')],
    ['UTF-16 in the other byte order', Buffer.from(`\ufeff${list}`, 'utf16le').swap16()],
    ['UTF-16 in a gzip file', gzipSync(Buffer.from(`\ufeff${list}`, 'utf16le'))],
  ])('is read to its end: %s', async (_, bytes) => {
    expect(await read(bytes)).toEqual({ clickIds: ids, passedOver: 0, repeated: 0 });
  });

  it('has each click once, and counts what it passes over and what it has again', async () => {
    const [a = '', b = ''] = ids;
    const rows = [`${a},charged`, `${b},invalid`, `${a.toUpperCase()},charged`, `${b},credit`];
    expect(await read('clickId,outcome\n', rows.join('\n'))).toEqual({
      ...{ clickIds: [a], passedOver: 2, repeated: 1 },
    });
  });

  it('is refused with the number of the line that is wrong, wherever it is', async () => {
    expect(await read(list, '4711\n', list)).toBe(words.wrong(30_001, '4711'));
    const long = 'x'.repeat(100_000);
    expect(await read(list, long)).toBe(words.wrong(30_001, `${'x'.repeat(100)}…`));
    expect(await read(gzipSync(`${list}${long.repeat(100)}`))).toMatch(/^Line 30001: /);
  });

  it.each([
    ['nothing', '\n \n', words.empty],
    ['no charge', `{"clickId":"${ids[0]}","outcome":"invalid"}`, words.noCharges('1')],
    ['a damaged gzip file', gzipSync(list).subarray(0, 50_000), words.damaged],
    ['other bytes', Buffer.from([0x31, 0x0a, 0xff, 0xfe, 0xff]), words.notText],
    ['other bytes in a gzip file', gzipSync(Buffer.from([0x31, 0x0a, 0xff])), words.notText],
    ['UTF-32', Buffer.from([0xff, 0xfe, 0, 0, 0x31, 0, 0, 0]), words.notText],
    ['a workbook', Buffer.from([0x50, 0x4b, 3, 4, 0, 0]), words.workbook],
  ])('is refused with %s', async (_, content, message) => {
    expect(await read(content)).toBe(message);
  });
});
