import { arrayLiteral, type Connection } from '../common/postgres.ts';
import type { ClickOrigin, ReadMark, ReadRecord } from '../producer/click-event.ts';
import { identityOf, type Rejection } from './dead-letters.ts';
import type { Settled } from './ledger.ts';

/** Longest piece of sequences kept as bits: 8 KiB. */
const SPAN_BITS_MAX = 65_536;
const NOTHING = { accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0 };

/** What one transaction adds to an origin. */
export type OriginTally = {
  origin: string | null;
  accepted: number;
  charged: number;
  over_budget: number;
  invalid: number;
  rejected: number;
  sequences: number[];
};
/** Counts by origin what this transaction settles. Foreign records, of no click of ours, are outside the books. */
export function tallyOf(
  settled: readonly Settled[],
  rejections: readonly Rejection[],
  fresh: ReadonlySet<string>,
  marks: readonly ReadMark[],
): OriginTally[] {
  const tallies = new Map<string | null, OriginTally>();
  const of = (origin: string | null): OriginTally => {
    let found = tallies.get(origin);
    if (!found) {
      found = { origin, accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0, sequences: [] };
      tallies.set(origin, found);
    }
    return found;
  };
  for (const mark of marks) {
    const row = of(mark.origin);
    row.accepted = Math.max(row.accepted, mark.accepted);
  }
  let row: OriginTally | null = null;
  for (const { record, verdict } of settled) {
    const origin = record.from?.origin ?? null;
    // Neighbours are mostly of one origin.
    if (row === null || row.origin !== origin) row = of(origin);
    row[verdict.outcome] += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  for (const { record } of rejections) {
    if (!fresh.has(identityOf(record)) || isForeign(record)) continue;
    const row = of(record.from?.origin ?? null);
    row.rejected += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  return [...tallies.values()];
}

/** Whether a record is no click of ours at all: it has neither our key nor a click in it. */
export function isForeign(record: ReadRecord): boolean {
  return record.is === 'unreadable' && record.from === null;
}

/** Appends to the tally: nothing is updated, so nobody waits. A row an origin, and more where its sequences lie far apart. */
export async function appendTallies(connection: Connection, tallies: readonly OriginTally[]): Promise<void> {
  const rows = tallies.flatMap((tally) => {
    const [first, ...others] = toBits(tally.sequences);
    const counted = { ...tally, ...(first ?? { firstSequence: 0, bits: Buffer.alloc(0) }) };
    return [counted, ...others.map((bits) => ({ ...NOTHING, origin: tally.origin, ...bits }))];
  });
  if (rows.length === 0) return;
  await connection.query({
    name: 'append tallies',
    text: `insert into origin_tally (origin, accepted, charged, over_budget, invalid, rejected, first_sequence, settled)
       select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
         $8::bytea[])`,
    values: [
      rows.map((row) => row.origin),
      ...[
        rows.map((row) => row.accepted),
        rows.map((row) => row.charged),
        rows.map((row) => row.over_budget),
        rows.map((row) => row.invalid),
        rows.map((row) => row.rejected),
        rows.map((row) => row.firstSequence),
      ].map(arrayLiteral),
      rows.map((row) => row.bits),
    ],
  });
}

/** Sequences as bits, in as many pieces as it takes for none to be longer than `SPAN_BITS_MAX`. */
function toBits(sequences: readonly number[]): { firstSequence: number; bits: Buffer }[] {
  const pieces: { firstSequence: number; bits: Buffer }[] = [];
  const ascending = Float64Array.from(sequences).sort();
  for (let from = 0; from < ascending.length; ) {
    const firstSequence = ascending[from] ?? 0;
    let to = from;
    while (to < ascending.length && (ascending[to] ?? 0) - firstSequence < SPAN_BITS_MAX) to += 1;
    const bits = Buffer.alloc((((ascending[to - 1] ?? 0) - firstSequence) >> 3) + 1);
    for (let at = from; at < to; at += 1) {
      const bit = (ascending[at] ?? 0) - firstSequence;
      bits[bit >> 3] = (bits[bit >> 3] ?? 0) | (1 << (bit & 7));
    }
    pieces.push({ firstSequence, bits });
    from = to;
  }
  return pieces;
}

/**
 * Which of these sequences are settled, whatever was settled under them. Reads what batches have appended since the last
 * merge row by row: for the rejected alone, which are few.
 */
export async function readSettledSequences(
  connection: Connection,
  asked: readonly ClickOrigin[],
): Promise<(from: ClickOrigin) => boolean> {
  if (asked.length === 0) return () => false;
  const { rows } = await connection.query<{ origin: string; sequence: bigint }>(
    `with asked as (select * from unnest($1::uuid[], $2::bigint[]) asked (origin, sequence)),
     appended as (select distinct origin, sequence from origin_tally_sequence where origin = any($1::uuid[]))
     select asked.origin, asked.sequence from asked join origin_total total using (origin)
       where total.sequences @> asked.sequence
     union all
     select origin, sequence from asked join appended using (origin, sequence)`,
    [arrayLiteral(asked.map(({ origin }) => origin)), arrayLiteral(asked.map(({ sequence }) => sequence))],
  );
  const settled = new Set(rows.map(({ origin, sequence }) => `${origin}.${sequence}`));
  return ({ origin, sequence }) => settled.has(`${origin}.${sequence}`);
}
