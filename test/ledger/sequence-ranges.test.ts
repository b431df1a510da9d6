import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  countSequences,
  formatMultirange,
  parseMultirange,
  type Sequences,
  sequencesOf,
  subtractSequences,
  uniteSequences,
} from '../../ledger/sequence-ranges.ts';
import { testDatabase } from '../support/database.ts';

const database = testDatabase();
const numbers = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 40 });

function members(sequences: Sequences): number[] {
  return sequences.flatMap(({ start, end }) =>
    Array.from({ length: end - start }, (_, index) => start + index),
  );
}

function ascending(values: Iterable<number>): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

describe('sequences', () => {
  it('hold exactly the numbers they were made of, in as few ranges as there can be', () => {
    fc.assert(
      fc.property(numbers, (given) => {
        const sequences = sequencesOf(given);
        expect(members(sequences)).toEqual(ascending(given));
        expect(countSequences(sequences)).toBe(new Set(given).size);
        for (const [index, { start, end }] of sequences.entries()) {
          expect(start).toBeLessThan(end);
          expect(start).toBeGreaterThan(sequences[index - 1]?.end ?? 0);
        }
      }),
    );
  });

  it('subtract like sets', () => {
    fc.assert(
      fc.property(numbers, numbers, (from, taken) => {
        const left = subtractSequences(sequencesOf(from), sequencesOf(taken));
        expect(left).toEqual(sequencesOf(from.filter((number) => !taken.includes(number))));
      }),
      { numRuns: 1_000 },
    );
  });

  it('unite like sets', () => {
    fc.assert(
      fc.property(numbers, numbers, (one, other) => {
        const united = uniteSequences(sequencesOf(one), sequencesOf(other));
        expect(united).toEqual(sequencesOf([...one, ...other]));
      }),
      { numRuns: 1_000 },
    );
  });

  it('are read back as they were written', () => {
    fc.assert(
      fc.property(numbers, (given) => {
        const sequences = sequencesOf(given);
        expect(parseMultirange(formatMultirange(sequences))).toEqual(sequences);
      }),
    );
  });

  it('are what PostgreSQL calls a multirange', async () => {
    const given = fc.array(fc.integer({ min: 1, max: 999_999_999_999_999 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(fc.oneof(numbers, given), async (drawn) => {
        const { rows } = await database.pool.query<{ ranges: string }>(
          `select coalesce(range_agg(int8range(number, number, '[]')), '{}')::text as ranges
           from unnest($1::bigint[]) number`,
          [drawn],
        );
        expect(parseMultirange(rows[0]?.ranges ?? '')).toEqual(sequencesOf(drawn));
      }),
      { numRuns: 50 },
    );
  });
});
