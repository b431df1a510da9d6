import { arrayLiteral, type Connection } from '../common/postgres/postgres.ts';
import type { ReadWatermark, SpoolPosition } from '../contract/click-event.ts';
import { identityOf, isForeign, type Rejection } from './dead-letters.ts';
import { parseMultirange, type Sequences, sequencesOf, uniteSequences } from './sequence-ranges.ts';
import type { SettledClick } from './store.ts';

/** The spool under which clicks without one are summed. */
export const NIL_SPOOL_ID = '00000000-0000-0000-0000-000000000000';

/** Longest piece of sequences kept as bits: 8 KiB. */
const SPAN_BITS_MAX = 65_536;
/** Counts of nothing, to add some to. */
export const ZERO_COUNTS = { accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0 };

/** What one transaction adds to a spool. */
export type SpoolCounts = {
  spoolId: string | null;
  accepted: number;
  charged: number;
  over_budget: number;
  invalid: number;
  rejected: number;
  sequences: number[];
};
/** Counts by spool what this transaction settles. Foreign records, of no click of ours, are outside the books. */
export function countBySpool(
  settled: readonly SettledClick[],
  rejections: readonly Rejection[],
  fresh: ReadonlySet<string>,
  watermarks: readonly ReadWatermark[],
): SpoolCounts[] {
  const counters = new Map<string | null, SpoolCounts>();
  const of = (spoolId: string | null): SpoolCounts => {
    let found = counters.get(spoolId);
    if (!found) {
      found = { spoolId, accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0, sequences: [] };
      counters.set(spoolId, found);
    }
    return found;
  };
  for (const watermark of watermarks) {
    const row = of(watermark.spoolId);
    row.accepted = Math.max(row.accepted, watermark.accepted);
  }
  let row: SpoolCounts | null = null;
  for (const { record, verdict } of settled) {
    const spoolId = record.from?.spoolId ?? null;
    // Neighbours are mostly of one spool.
    if (row === null || row.spoolId !== spoolId) row = of(spoolId);
    row[verdict.outcome] += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  for (const { record } of rejections) {
    if (!fresh.has(identityOf(record)) || isForeign(record)) continue;
    const row = of(record.from?.spoolId ?? null);
    row.rejected += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  return [...counters.values()];
}

/** Appends to the counters: nothing is updated, so nobody waits. A row a spool, and more where its sequences lie far apart. */
export async function appendSpoolCounters(
  connection: Connection,
  counters: readonly SpoolCounts[],
): Promise<void> {
  const rows = counters.flatMap((counter) => {
    const [first, ...others] = encodeBitmaps(counter.sequences);
    const counted = { ...counter, ...(first ?? { firstSequence: 0, bits: Buffer.alloc(0) }) };
    return [counted, ...others.map((bits) => ({ ...ZERO_COUNTS, spoolId: counter.spoolId, ...bits }))];
  });
  if (rows.length === 0) return;
  await connection.query({
    name: 'append counters',
    text: `insert into spool_counter (spool_id, accepted, charged, over_budget, invalid, rejected, first_sequence, settled)
       select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
         $8::bytea[])`,
    values: [
      rows.map((row) => row.spoolId),
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
function encodeBitmaps(sequences: readonly number[]): { firstSequence: number; bits: Buffer }[] {
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
function decodeBitmap(firstSequence: number, bits: Buffer, numbers: number[]): void {
  for (const [at, byte] of bits.entries()) {
    if (byte === 0) continue;
    for (let bit = 0; bit < 8; bit += 1) {
      if ((byte & (1 << bit)) !== 0) numbers.push(firstSequence + at * 8 + bit);
    }
  }
}

/** A row that a batch has appended. Bits are taken apart here: one by one, PostgreSQL takes a thousand times as long. */
export type SpoolCounterRow = {
  readonly id: bigint;
  readonly spoolId: string;
  readonly accepted: bigint;
  readonly charged: bigint;
  readonly over_budget: bigint;
  readonly invalid: bigint;
  readonly rejected: bigint;
  readonly first_sequence: bigint;
  readonly settled: Buffer;
};

/** What a spool has counted, and which of its sequences are settled. */
export type SpoolCounters = {
  accepted: number;
  charged: number;
  overBudget: number;
  invalid: number;
  rejected: number;
  settled: Sequences;
};

/** The columns of a `SpoolCounterRow`; the table may bear another name. */
export const COUNTER_COLUMNS = `id, coalesce(spool_id, '${NIL_SPOOL_ID}') as "spoolId", accepted, charged, over_budget, invalid, rejected,
  first_sequence, settled`;

/** Sums rows by spool, onto what there is. */
export function addCounters(counters: Map<string, SpoolCounters>, rows: readonly SpoolCounterRow[]): void {
  const numbers = new Map<string, number[]>();
  for (const row of rows) {
    const counter = counters.get(row.spoolId) ?? zeroCounters();
    counters.set(row.spoolId, counter);
    counter.accepted = Math.max(counter.accepted, Number(row.accepted));
    counter.charged += Number(row.charged);
    counter.overBudget += Number(row.over_budget);
    counter.invalid += Number(row.invalid);
    counter.rejected += Number(row.rejected);
    const found = numbers.get(row.spoolId) ?? [];
    numbers.set(row.spoolId, found);
    decodeBitmap(Number(row.first_sequence), row.settled, found);
  }
  for (const [spoolId, found] of numbers) {
    const counter = counters.get(spoolId);
    if (counter) counter.settled = uniteSequences(counter.settled, sequencesOf(found));
  }
}

function zeroCounters(): SpoolCounters {
  return { accepted: 0, charged: 0, overBudget: 0, invalid: 0, rejected: 0, settled: [] };
}

/** Rows of the counters that are read at once: each may have 8 KiB of bits. */
const PAGE_ROWS = 500;

/**
 * All that was ever counted, merged or not, by spool; of some spools or of all. Exact in one snapshot. Without one, what is merged
 * in the meantime is read twice, which changes no set of sequences: the rows that a merge takes away are read before the sums.
 */
export async function readSpoolCounters(
  connection: Connection,
  spools: readonly string[] | null = null,
): Promise<Map<string, SpoolCounters>> {
  const counters = new Map<string, SpoolCounters>();
  for (let after = 0n; ; ) {
    const page = await connection.query<SpoolCounterRow>(
      `select ${COUNTER_COLUMNS} from spool_counter
       where id > $1 and ($2::uuid[] is null or spool_id = any($2)) order by id limit ${PAGE_ROWS}`,
      [after, spools],
    );
    addCounters(counters, page.rows);
    if (page.rows.length < PAGE_ROWS) break;
    after = page.rows.at(-1)?.id ?? after;
  }
  const { rows } = await connection.query<
    Omit<SpoolCounters, 'settled'> & { spoolId: string; sequences: string }
  >(
    `select spool_id as "spoolId", accepted::float8 as accepted, charged::float8 as charged, over_budget::float8 as "overBudget",
       invalid::float8 as invalid, rejected::float8 as rejected, sequences::text as sequences
     from spool_total where $1::uuid[] is null or spool_id = any($1) order by spool_id`,
    [spools],
  );
  for (const total of rows) {
    const counter = counters.get(total.spoolId) ?? zeroCounters();
    counters.set(total.spoolId, {
      accepted: Math.max(counter.accepted, total.accepted),
      charged: counter.charged + total.charged,
      overBudget: counter.overBudget + total.overBudget,
      invalid: counter.invalid + total.invalid,
      rejected: counter.rejected + total.rejected,
      settled: uniteSequences(counter.settled, parseMultirange(total.sequences)),
    });
  }
  return counters;
}

/** Which of these sequences are settled, whatever was settled under them. For the rejected alone, which are few. */
export async function readSettledSequences(
  connection: Connection,
  asked: readonly SpoolPosition[],
): Promise<(from: SpoolPosition) => boolean> {
  if (asked.length === 0) return () => false;
  const counters = await readSpoolCounters(connection, [...new Set(asked.map(({ spoolId }) => spoolId))]);
  return ({ spoolId, sequence }) =>
    counters.get(spoolId)?.settled.some(({ start, end }) => start <= sequence && sequence < end) ?? false;
}
