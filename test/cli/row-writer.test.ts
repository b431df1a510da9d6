import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Format, printRows, type TableRow } from '../../cli/print.ts';
import { createRowWriter } from '../../cli/row-writer.ts';

/** What is written to standard output, a text for each write. `accepts`: whether the reader keeps up. */
function capture(accepts = true) {
  const texts: string[] = [];
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    texts.push(String(text));
    return accepts;
  });
  onTestFinished(() => write.mockRestore());
  return texts;
}

const FORMATS: readonly Format[] = ['table', 'csv', 'json'];
const ROWS: readonly TableRow[] = [
  { id: 1, name: 'one\nline', amount: '0.25' },
  { id: 20, name: null, amount: '10.00' },
  { id: 300, name: 'a "quoted" name', amount: '0.00' },
];

describe.each(FORMATS)('rows written part by part as %s', (format) => {
  it.each([
    ['in parts', [ROWS.slice(0, 2), [], ROWS.slice(2)]],
    ['at once', [ROWS]],
    ['none', []],
    ['none, in an empty part', [[]]],
  ])('are those of printRows: %s', async (_, parts) => {
    const texts = capture();
    printRows(parts.flat(), { format }, 'There is nothing');
    const expected = texts.splice(0).join('');
    const writer = createRowWriter({ format }, 'There is nothing');
    for (const part of parts) await writer.write(part);
    await writer.finish();
    expect(texts.join('')).toBe(expected);
  });

  it('wait for a slow reader', async () => {
    const texts = capture(false);
    const writer = createRowWriter({ format }, '');
    let isWritten = false;
    const many = Array.from({ length: 10_000 }, (_, id) => ({ id }));
    const written = writer.write(many).then(() => {
      isWritten = true;
    });
    // All that can happen without an event of standard output has happened then.
    await new Promise(setImmediate);
    expect([texts.length, isWritten]).toEqual([1, false]);
    process.stdout.emit('drain');
    await written;
  });
});

it('the columns of a table are as wide as the first 10 000 rows need', async () => {
  const texts = capture();
  const writer = createRowWriter({ format: 'table' }, '');
  await writer.write([{ name: 'a', id: 1 }]);
  await writer.write(Array.from({ length: 9_999 }, () => ({ name: 'abcdef', id: 2 })));
  await writer.write([{ name: 'abcdefgh', id: 3 }]);
  await writer.finish();
  const lines = texts.join('').split('\n');
  expect(lines.slice(0, 3)).toEqual(['name    id', 'a        1', 'abcdef   2']);
  expect(lines.slice(-2)).toEqual(['abcdefgh   3', '']);
  expect(lines).toHaveLength(10_003);
});
