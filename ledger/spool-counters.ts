import { arrayLiteral, type Connection } from '../common/postgres/postgres.ts';
import type { ClickOrigin, ReadMark } from '../contract/click-event.ts';
import { identityOf, isForeign, type Rejection } from './dead-letters.ts';
import { parseMultirange, type Sequences, sequencesOf, uniteSequences } from './sequence-ranges.ts';
import type { Settled } from './store.ts';

/** The origin under which clicks without one are summed. */
export const NO_ORIGIN = '00000000-0000-0000-0000-000000000000';

/** Longest piece of sequences kept as bits: 8 KiB. */
const SPAN_BITS_MAX = 65_536;
/** Counts of nothing, to add some to. */
export const NOTHING = { accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0 };

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

/** The numbers that bits stand for, lowest first; the reverse of `toBits`. */
function fromBits(firstSequence: number, bits: Buffer, numbers: number[]): void {
  for (const [at, byte] of bits.entries()) {
    if (byte === 0) continue;
    for (let bit = 0; bit < 8; bit += 1) {
      if ((byte & (1 << bit)) !== 0) numbers.push(firstSequence + at * 8 + bit);
    }
  }
}

/** A row that a batch has appended. Bits are taken apart here: one by one, PostgreSQL takes a thousand times as long. */
export type TallyRow = {
  readonly id: bigint;
  readonly origin: string;
  readonly accepted: bigint;
  readonly charged: bigint;
  readonly over_budget: bigint;
  readonly invalid: bigint;
  readonly rejected: bigint;
  readonly first_sequence: bigint;
  readonly settled: Buffer;
};

/** What an origin has counted, and which of its sequences are settled. */
export type Tally = {
  accepted: number;
  charged: number;
  overBudget: number;
  invalid: number;
  rejected: number;
  settled: Sequences;
};

/** The columns of a `TallyRow`; the table may bear another name. */
export const TALLY_COLUMNS = `id, coalesce(origin, '${NO_ORIGIN}') as origin, accepted, charged, over_budget, invalid, rejected,
  first_sequence, settled`;

/** Sums rows by origin, onto what there is. */
export function addTallies(tallies: Map<string, Tally>, rows: readonly TallyRow[]): void {
  const numbers = new Map<string, number[]>();
  for (const row of rows) {
    const tally = tallies.get(row.origin) ?? noTally();
    tallies.set(row.origin, tally);
    tally.accepted = Math.max(tally.accepted, Number(row.accepted));
    tally.charged += Number(row.charged);
    tally.overBudget += Number(row.over_budget);
    tally.invalid += Number(row.invalid);
    tally.rejected += Number(row.rejected);
    const found = numbers.get(row.origin) ?? [];
    numbers.set(row.origin, found);
    fromBits(Number(row.first_sequence), row.settled, found);
  }
  for (const [origin, found] of numbers) {
    const tally = tallies.get(origin);
    if (tally) tally.settled = uniteSequences(tally.settled, sequencesOf(found));
  }
}

function noTally(): Tally {
  return { accepted: 0, charged: 0, overBudget: 0, invalid: 0, rejected: 0, settled: [] };
}

/** Rows of the tally that are read at once: each may have 8 KiB of bits. */
const PAGE_ROWS = 500;

/**
 * All that was ever tallied, merged or not, by origin; of some origins or of all. Exact in one snapshot. Without one, what is merged
 * in the meantime is read twice, which changes no set of sequences: the rows that a merge takes away are read before the sums.
 */
export async function readTallies(
  connection: Connection,
  origins: readonly string[] | null = null,
): Promise<Map<string, Tally>> {
  const tallies = new Map<string, Tally>();
  for (let after = 0n; ; ) {
    const page = await connection.query<TallyRow>(
      `select ${TALLY_COLUMNS} from origin_tally
       where id > $1 and ($2::uuid[] is null or origin = any($2)) order by id limit ${PAGE_ROWS}`,
      [after, origins],
    );
    addTallies(tallies, page.rows);
    if (page.rows.length < PAGE_ROWS) break;
    after = page.rows.at(-1)?.id ?? after;
  }
  const { rows } = await connection.query<Omit<Tally, 'settled'> & { origin: string; sequences: string }>(
    `select origin, accepted::float8 as accepted, charged::float8 as charged, over_budget::float8 as "overBudget",
       invalid::float8 as invalid, rejected::float8 as rejected, sequences::text as sequences
     from origin_total where $1::uuid[] is null or origin = any($1) order by origin`,
    [origins],
  );
  for (const total of rows) {
    const tally = tallies.get(total.origin) ?? noTally();
    tallies.set(total.origin, {
      accepted: Math.max(tally.accepted, total.accepted),
      charged: tally.charged + total.charged,
      overBudget: tally.overBudget + total.overBudget,
      invalid: tally.invalid + total.invalid,
      rejected: tally.rejected + total.rejected,
      settled: uniteSequences(tally.settled, parseMultirange(total.sequences)),
    });
  }
  return tallies;
}

/** Which of these sequences are settled, whatever was settled under them. For the rejected alone, which are few. */
export async function readSettledSequences(
  connection: Connection,
  asked: readonly ClickOrigin[],
): Promise<(from: ClickOrigin) => boolean> {
  if (asked.length === 0) return () => false;
  const tallies = await readTallies(connection, [...new Set(asked.map(({ origin }) => origin))]);
  return ({ origin, sequence }) =>
    tallies.get(origin)?.settled.some(({ start, end }) => start <= sequence && sequence < end) ?? false;
}
