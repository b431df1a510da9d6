import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseName, parseReference, printable, printableJson, printableLines } from '../../common/text.ts';
import { anyCharacter } from '../support/any-character.ts';

describe('a text from outside, printed on a terminal', () => {
  it.each([
    ['\x1b[2J\x1b[31mred', '\\u001b[2J\\u001b[31mred'],
    ['\x9b2J', '\\u009b2J'],
    ['a\rb\x08\x7f', 'a\\u000db\\u0008\\u007f'],
    ['\u202egpj.exe', '\\u202egpj.exe'],
    ['zero\u200bwidth\u{e0061}', 'zero\\u200bwidth\\udb40\\udc61'],
    ['two\nlines\tand a tab', 'two\\u000alines\\u0009and a tab'],
    ['half \ud800 a pair', 'half \\ud800 a pair'],
    ['Café “Ünïcode” 東京 👩‍👩‍👧', 'Café “Ünïcode” 東京 👩‍👩‍👧'],
  ])('%j is printed as %s', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('keeps line ends and tabs in a text of several lines', () => {
    expect(printableLines('a\n\tb\x1b')).toBe('a\n\tb\\u001b');
  });

  it('has no control character, and is the same value in JSON', () => {
    const anything = fc.string({ unit: anyCharacter });
    fc.assert(
      fc.property(anything, (text) => {
        expect(printable(text)).toMatch(/^[^\p{Cc}\u2028\u2029\u202a-\u202e]*$/u);
        expect(printableJson({ text }, 2).replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
        expect(JSON.parse(printableJson({ text }))).toEqual({ text });
      }),
    );
  });
});

it.each([
  ['cli/main.js', ['link', '\x1b[31mx']],
  ['cli/main.js', ['\x1b[31mx']],
  ['cli/main.js', ['advertiser', '\x1b[31mx']],
  ['cli/main.js', ['export', '--\x1b[31mx']],
  ['load-tests/main.ts', ['replay', '--\x1b[31mx']],
])('%s quotes a wrong argument of %j without its control characters', (file, given) => {
  const main = join(import.meta.dirname, '..', '..', file);
  const { stderr, stdout } = spawnSync(process.execPath, [main, ...given], { encoding: 'utf8' });
  expect(stderr).toContain('\\u001b[31mx');
  expect(stdout + stderr).not.toContain('\x1b');
});

describe('a name', () => {
  it.each(['Blue Shoes', 'Ünïcode & Söhne', '東京', 'x'.repeat(200)])('can be %s', (text) => {
    expect(parseName(` ${text} `)).toBe(text);
  });

  it.each([
    ['', 'Expected a name of 1–200 printable characters, got none'],
    ['  ', 'Expected a name of 1–200 printable characters, got none'],
    ['x'.repeat(201), 'Expected a name of 1–200 printable characters, got 201 characters'],
    ['\u2060', 'Expected a name of 1–200 printable characters, got no visible character'],
    ['\u200d\u200d', 'Expected a name of 1–200 printable characters, got no visible character'],
    ['Blue\u00adShoes', 'Expected a name of 1–200 printable characters, got "Blue\\u00adShoes"'],
    ['Blue\x1b[31mShoes', 'Expected a name of 1–200 printable characters, got "Blue\\u001b[31mShoes"'],
    ['two\nlines', 'Expected a name of 1–200 printable characters, got "two\\u000alines"'],
    ['NUL\0', 'Expected a name of 1–200 printable characters, got "NUL\\u0000"'],
  ])('cannot be %j', (text, message) => {
    expect(() => parseName(text)).toThrow(expect.objectContaining({ code: 'bad_name', message }));
  });
});

describe('a reference', () => {
  it('can be the number of an invoice', () => {
    expect(parseReference('invoice-4711 / 2026-11')).toBe('invoice-4711 / 2026-11');
    expect(parseReference('credited twice')).toBe('credited twice');
    // NFC: one form for letters that have two.
    expect(parseReference('Rechnung fu\u0308r Mai')).toBe('Rechnung f\u00fcr Mai');
  });

  it.each([
    ['', 'got none'],
    ['x'.repeat(201), 'got 201'],
    ['a\tb', 'got "a\\u0009b"'],
    ['inv\u200b-1', 'got "inv\\u200b-1"'],
    ['inv\u200d-1', 'got "inv\\u200d-1"'],
    ['inv\u00a01', 'got "inv\\u00a01"'],
    ['\ufeffinv\u{e0061}', 'got "'],
    ['credit 01a208fb-f934-70de-beaa-9335acbb4502', 'does not begin with "credit "'],
  ])('cannot be %j', (text, message) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: 'bad_reference', message: expect.stringContaining(message) }),
    );
  });
});
