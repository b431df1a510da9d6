import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  countSequences,
  formatMultirange,
  parseMultirange,
  SequenceCollector,
  type Sequences,
  sequencesOf,
  subtractSequences,
  uniteSequences,
} from '../../../ledger/spools/sequence-ranges.ts';
import { testDatabase } from '../../support/database.ts';

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
  it('contain exactly the given numbers in the fewest ranges', () => {
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

  it('are collected, however many numbers there are', () => {
    // Lanes of 1 000 numbers that come in turn, with a hole after each 100 and some numbers twice.
    const given = Array.from(
      { length: 300_000 },
      (_, index) => (index % 300) * 1_000 + Math.floor(index / 300),
    ).filter((number) => number % 101 !== 100);
    const collector = new SequenceCollector();
    for (const number of [...given, ...given.slice(0, 50_000)]) collector.add(number);
    expect(collector.collected()).toEqual(sequencesOf(given));
  });

  it('subtract like sets', () => {
    fc.assert(
      fc.property(numbers, numbers, (from, removed) => {
        const left = subtractSequences(sequencesOf(from), sequencesOf(removed));
        expect(left).toEqual(sequencesOf(from.filter((number) => !removed.includes(number))));
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

  it('are the same after formatting and parsing', () => {
    fc.assert(
      fc.property(numbers, (given) => {
        const sequences = sequencesOf(given);
        expect(parseMultirange(formatMultirange(sequences))).toEqual(sequences);
      }),
    );
  });

  it('equal PostgreSQL’s multiranges', async () => {
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
