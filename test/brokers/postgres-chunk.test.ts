import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeChunk, encodeChunk, readChunk } from '../../brokers/postgres/chunk.ts';
import { anyCharacter } from '../support/any-character.ts';

const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
const record = fc.record({
  key: fc.option(fc.string({ unit: anyCharacter, maxLength: 20 })),
  value: fc.option(bytes),
});

describe('a chunk', () => {
  it('decodes to the records that it was encoded from, null and empty ones too', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 20 }), (records) => {
        expect(decodeChunk(encodeChunk(records))).toEqual(records);
      }),
    );
  });

  it('is refused if it is truncated anywhere but between two records', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 5 }), fc.nat(), (records, at) => {
        const whole = encodeChunk(records);
        const cut = whole.subarray(0, at % whole.length);
        const ends = records.map((_, index) => encodeChunk(records.slice(0, index)).length);
        if (ends.includes(cut.length)) expect(decodeChunk(cut).length).toBeLessThan(records.length);
        else expect(() => decodeChunk(cut)).toThrow(RangeError);
      }),
    );
  });

  it('of any bytes is decoded or refused, and reading it never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (array) => {
        const payload = Buffer.from(array);
        expect(() => readChunk(1n, payload)).not.toThrow();
        for (const read of readChunk(1n, payload)) expect(read.is).not.toBe('click');
      }),
      { numRuns: 500 },
    );
  });

  it('is read as one foreign record with all its bytes if it is malformed', () => {
    const payload = Buffer.from('this is not a chunk');
    expect(readChunk(7n, payload)).toMatchObject([
      { is: 'unreadable', key: null, value: payload, position: 'chunk 7', from: null },
    ]);
  });

  it('gives each of its records a position', () => {
    const payload = encodeChunk([
      { key: 'a', value: null },
      { key: null, value: Buffer.from('b') },
    ]);
    expect(readChunk(7n, payload).map(({ position }) => position)).toEqual([
      'chunk 7 record 0',
      'chunk 7 record 1',
    ]);
  });
});
