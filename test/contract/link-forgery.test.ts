import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSigner, createVerifier, evergreenLink, impressionLink } from '../../contract/link-token.ts';
import { anyCharacter } from '../support/any-character.ts';
import { DAY_MS, k1, otherKey, vectors } from '../support/link-samples.ts';

const verify = createVerifier([k1, otherKey('k2', 'verifies')], 90 * DAY_MS);
const tokens = vectors.map(({ token }) => token);
const anyToken = fc.constantFrom(...tokens);

/** More runs than usual, because a forgery costs money. */
const MANY = { numRuns: 2_000 };

describe('no altered token verifies', () => {
  it('with one character replaced', () => {
    const characters = fc.oneof(
      fc.constantFrom(...'ABCXYZabcxyz0189-_.=+/% \n\0\u0141\u0430\u{1F600}'),
      anyCharacter,
    );
    fc.assert(
      fc.property(anyToken, fc.nat(), characters, (token, place, character) => {
        const at = place % token.length;
        fc.pre(token[at] !== character);
        expect(verify(token.slice(0, at) + character + token.slice(at + 1))).toBeNull();
      }),
      MANY,
    );
  });

  it('with a character of the same low byte in its tag', () => {
    for (const token of tokens) {
      const last = token.length - 1;
      const lookalike = String.fromCharCode(token.charCodeAt(last) + 0x100);
      expect(verify(token.slice(0, last) + lookalike)).toBeNull();
    }
  });

  it('with a character removed, inserted, or in the other case', () => {
    for (const token of tokens) {
      for (let at = 0; at < token.length; at += 1) {
        const [before, character, after] = [token.slice(0, at), token[at] ?? '', token.slice(at + 1)];
        expect(verify(before + after)).toBeNull();
        expect(verify(`${before}0${character}${after}`)).toBeNull();
        const otherCase =
          character === character.toLowerCase() ? character.toUpperCase() : character.toLowerCase();
        if (otherCase !== character) expect(verify(before + otherCase + after)).toBeNull();
      }
    }
  });

  it('with its parts in another order, repeated or missing', () => {
    fc.assert(
      fc.property(anyToken, fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 8 }), (token, order) => {
        const parts = token.split('.');
        const altered = order.map((index) => parts[index % parts.length]).join('.');
        fc.pre(!tokens.includes(altered));
        expect(verify(altered)).toBeNull();
      }),
      MANY,
    );
  });

  it('with parts of other tokens', () => {
    fc.assert(
      fc.property(anyToken, anyToken, fc.nat({ max: 5 }), (one, other, index) => {
        const parts = one.split('.');
        const theirs = other.split('.');
        const mixed = parts.map((part, at) => (at === index ? (theirs[at] ?? part) : part)).join('.');
        fc.pre(!tokens.includes(mixed));
        expect(verify(mixed)).toBeNull();
      }),
    );
  });

  it.each([
    ['a truncated tag', (token: string) => token.slice(0, -1)],
    ['half a tag', (token: string) => token.slice(0, -11)],
    ['no tag', (token: string) => token.slice(0, token.lastIndexOf('.') + 1)],
    ['no tag and no dot', (token: string) => token.slice(0, token.lastIndexOf('.'))],
    ['padding', (token: string) => `${token}==`],
    ['a longer tag', (token: string) => `${token}A`],
    ['a trailing dot', (token: string) => `${token}.`],
    ['a leading dot', (token: string) => `.${token}`],
    ['a trailing space', (token: string) => `${token} `],
    ['a trailing newline', (token: string) => `${token}\n`],
    ['a trailing slash', (token: string) => `${token}/`],
    ['an encoded NUL', (token: string) => `${token}%00`],
    ['a NUL', (token: string) => `${token}\0`],
    ['a parent folder', (token: string) => `../${token}`],
    ['encoded dots', (token: string) => token.replaceAll('.', '%2E')],
    ['the key id of another key', (token: string) => token.replace('.k1.', '.k2.')],
  ])('with %s', (_, alter) => {
    for (const token of tokens) expect(verify(alter(token))).toBeNull();
  });

  it('with the same bytes in a base64url that is not canonical', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    for (const token of tokens) {
      // 128 bits are 21 characters and 2 bits: the low four bits of character 22 are unused.
      const last = alphabet.indexOf(token.at(-1) ?? '');
      for (let bits = 1; bits < 16; bits += 1) {
        const altered = token.slice(0, -1) + alphabet[(last & 0b110000) | bits];
        const bytes = (text: string) => Buffer.from(text.slice(text.lastIndexOf('.') + 1), 'base64url');
        expect(bytes(altered)).toEqual(bytes(token));
        expect(verify(altered)).toBeNull();
      }
    }
  });

  it('with the same bytes in standard base64', () => {
    const standard = tokens.map((token) => token.replaceAll('-', '+').replaceAll('_', '/'));
    const altered = standard.filter((token) => !tokens.includes(token));
    expect(altered.length).toBeGreaterThan(0);
    for (const token of altered) expect(verify(token)).toBeNull();
  });
});

describe('no forged token verifies', () => {
  it('signed with another secret', () => {
    const secrets = fc.uint8Array({ minLength: 16, maxLength: 64 });
    fc.assert(
      fc.property(secrets, fc.boolean(), (secret, evergreen) => {
        const sign = createSigner([{ id: 'k1', state: 'signs', secret: Buffer.from(secret) }]);
        expect(verify(sign(evergreen ? evergreenLink(1) : impressionLink(1, DAY_MS)))).toBeNull();
      }),
    );
  });

  it('made of any text, and none throws', () => {
    const texts = fc.oneof(
      fc.string({ unit: anyCharacter, maxLength: 200 }),
      // Lone surrogates too: any 16-bit units.
      fc.array(fc.nat({ max: 0xffff }), { maxLength: 120 }).map((units) => String.fromCharCode(...units)),
      fc.array(fc.string({ maxLength: 40 }), { maxLength: 8 }).map((parts) => `1.k1.${parts.join('.')}`),
      fc.string({ maxLength: 22, minLength: 22 }).map((tag) => `1.k1.42.${tag}`),
      fc.string({ maxLength: 22, minLength: 22 }).map((tag) => `2.k1.42.example-news.${tag}`),
      fc.nat({ max: 20_000 }).map((length) => '1.k1.'.padEnd(length, '9')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(verify(text)).toBeNull();
      }),
      MANY,
    );
  });

  it('of ten thousand characters', () => {
    expect(verify('A'.repeat(10_000))).toBeNull();
    expect(verify('.'.repeat(10_000))).toBeNull();
    for (const token of tokens) expect(verify(token + 'A'.repeat(10_000))).toBeNull();
  });

  it('with a lone surrogate in any place', () => {
    for (const token of tokens) {
      for (let at = 0; at <= token.length; at += 1) {
        expect(verify(`${token.slice(0, at)}\ud800${token.slice(at + 1)}`)).toBeNull();
      }
    }
  });
});
