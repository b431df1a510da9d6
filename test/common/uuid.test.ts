import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonicalUuid,
  isUuid,
  isUuidV7,
  uuidFloor,
  uuidV7,
  uuidV7TimeMs,
  writeUuid,
} from '../../common/uuid.ts';
import { parseClickId } from '../../ledger/clicks/click-reference.ts';

/** Any time of a UUIDv7: 48 bits. */
const TIME_MAX = 2 ** 48 - 1;
const time = fc.integer({ min: 0, max: TIME_MAX });

describe('a UUIDv7', () => {
  it('has the layout of RFC 9562 §5.7: 48 bits of milliseconds, version 7, variant 10', () => {
    fc.assert(
      fc.property(time, (timeMs) => {
        const bits = BigInt(`0x${uuidV7(timeMs).replaceAll('-', '')}`);
        expect(Number(bits >> 80n)).toBe(timeMs);
        expect((bits >> 76n) & 0xfn).toBe(7n);
        expect((bits >> 62n) & 0b11n).toBe(0b10n);
      }),
    );
  });

  it('has the canonical form and contains its time', () => {
    fc.assert(
      fc.property(time, (timeMs) => {
        const id = uuidV7(timeMs);
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(isUuidV7(id)).toBe(true);
        expect(uuidV7TimeMs(id)).toBe(timeMs);
      }),
    );
  });

  it('sorts as text by its time, and lies between the floors of its millisecond and of the next one', () => {
    fc.assert(
      fc.property(time, time, (one, other) => {
        if (one < other) expect(uuidV7(one) < uuidV7(other)).toBe(true);
        expect(uuidV7(one) >= uuidFloor(one)).toBe(true);
        if (one < TIME_MAX) expect(uuidV7(one) < uuidFloor(one + 1)).toBe(true);
      }),
    );
  });

  it('has the current time by default, also from a clock with fractions of a millisecond', () => {
    const before = Date.now();
    const timeMs = uuidV7TimeMs(uuidV7());
    expect(timeMs).toBeGreaterThanOrEqual(before);
    expect(timeMs).toBeLessThanOrEqual(Date.now());
    expect(uuidV7TimeMs(uuidV7(1_700_000_000_000.75))).toBe(1_700_000_000_000);
  });

  it('is above all earlier ones, for up to 2 048 within one millisecond', () => {
    for (const timeMs of [0, 1, TIME_MAX]) {
      // An id of another millisecond before them, so that the counter starts again.
      uuidV7(timeMs + 2);
      const ids = Array.from({ length: 2_048 }, () => uuidV7(timeMs));
      expect(ids.toSorted()).toEqual(ids);
    }
  });

  it('is unique, and all of its 74 bits are random', () => {
    const ids = Array.from({ length: 20_000 }, () => uuidV7(0));
    expect(new Set(ids).size).toBe(ids.length);
    const bits = ids.map((id) => BigInt(`0x${id.replaceAll('-', '')}`));
    const everSet = bits.reduce((all, one) => all | one, 0n);
    const alwaysSet = bits.reduce((all, one) => all & one);
    // Version and variant are fixed. Every other bit below the time is 0 in some ids and 1 in others.
    expect(everSet).toBe((0x7n << 76n) | (0xfffn << 64n) | (0b10n << 62n) | (2n ** 62n - 1n));
    expect(alwaysSet).toBe((0x7n << 76n) | (0b10n << 62n));
  });
});

describe('a text', () => {
  it.each([
    '',
    '0190163d-8694-739b-aea5-966c26f8ad9',
    '0190163d-8694-739b-aea5-966c26f8ad911',
    '0190163D-8694-739B-AEA5-966C26F8AD91',
    '0190163d8694739baea5966c26f8ad91',
    '{0190163d-8694-739b-aea5-966c26f8ad91}',
    '0190163d-8694-739b-aea5-966c26f8ad9g',
    '0190163d-8694-739b-aea5-966c26f8ad91\n',
  ])('%j is not a UUID in canonical form', (text) => {
    expect([isUuid(text), isUuidV7(text)]).toEqual([false, false]);
  });

  it.each(['0190163d-8694-439b-aea5-966c26f8ad91', '0190163d-8694-739b-cea5-966c26f8ad91', uuidFloor(1)])(
    '%s is a UUID, but not of version 7',
    (text) => {
      expect([isUuid(text), isUuidV7(text)]).toEqual([true, false]);
    },
  );
});

it('writes the sixteen bytes of any UUID and changes no other bytes', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.nat(8), (id, at) => {
      const target = Buffer.alloc(32, 0xee);
      writeUuid(target, id, at);
      const expected = Buffer.alloc(32, 0xee);
      Buffer.from(id.replaceAll('-', ''), 'hex').copy(expected, at);
      expect(target).toEqual(expected);
    }),
  );
});

it('converts a UUID in upper case to its canonical form, and leaves other texts unchanged', () => {
  const id = uuidV7();
  expect(canonicalUuid(id.toUpperCase())).toBe(id);
  expect(canonicalUuid(id)).toBe(id);
  expect(parseClickId(` ${id.toUpperCase()} `)).toBe(id);
  for (const other of [null, 7, '', 'ABC', id.toUpperCase().replace('-', 'G'), `${id.toUpperCase()} `])
    expect(canonicalUuid(other)).toBe(other);
});
