import { arrayLiteral, type Connection } from '../../common/postgres/postgres.ts';
import type { ReadWatermark, SpoolPosition } from '../../contract/click-event.ts';
import { identityOf, isForeign, type Rejection } from '../charge/dead-letters.ts';
import type { SettledClick } from '../charge/ledger-rows.ts';
import { parseMultirange, type Sequences, sequencesOf, uniteSequences } from './sequence-ranges.ts';

/** The nil UUID: the spool id under which clicks without a spool id are summed. */
export const NIL_SPOOL_ID = '00000000-0000-0000-0000-000000000000';

/** Longest bitmap of sequences, in bits: 8 KiB. */
export const BITMAP_BITS_MAX = 65_536;
/** All counts zero: the base for a change of some of them. */
export const ZERO_COUNTS = { accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0 };

/** The changes that one transaction makes to the counters of a spool; `spoolId` is `null` for clicks without one. */
export type SpoolCounts = {
  spoolId: string | null;
  accepted: number;
  charged: number;
  over_budget: number;
  invalid: number;
  rejected: number;
  sequences: number[];
};

/**
 * Counts what a transaction settles, by spool. `newIdentities` are the identities of the dead letters that it inserted. Foreign records
 * are not counted.
 */
export function countBySpool(
  settled: readonly SettledClick[],
  rejections: readonly Rejection[],
  newIdentities: ReadonlySet<string>,
  watermarks: readonly ReadWatermark[],
): SpoolCounts[] {
  const counters = new Map<string | null, SpoolCounts>();
  const countsOf = (spoolId: string | null): SpoolCounts => {
    let found = counters.get(spoolId);
    if (!found) {
      found = { spoolId, accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0, sequences: [] };
      counters.set(spoolId, found);
    }
    return found;
  };
  for (const watermark of watermarks) {
    const row = countsOf(watermark.spoolId);
    row.accepted = Math.max(row.accepted, watermark.accepted);
  }
  let row: SpoolCounts | null = null;
  for (const { record, verdict } of settled) {
    const spoolId = record.from?.spoolId ?? null;
    // Consecutive clicks are mostly of one spool.
    if (row === null || row.spoolId !== spoolId) row = countsOf(spoolId);
    row[verdict.outcome] += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  for (const { record } of rejections) {
    if (!newIdentities.has(identityOf(record)) || isForeign(record)) continue;
    const row = countsOf(record.from?.spoolId ?? null);
    row.rejected += 1;
    if (record.from) row.sequences.push(record.from.sequence);
  }
  return [...counters.values()];
}

/**
 * Inserts counter rows instead of updating totals, so that transactions do not wait for each other. One row for each spool, more if its
 * sequences lie far apart.
 */
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

/** Encodes sequences as bitmaps of at most `BITMAP_BITS_MAX` bits each, which begin at `firstSequence`. */
export function encodeBitmaps(sequences: readonly number[]): { firstSequence: number; bits: Buffer }[] {
  const pieces: { firstSequence: number; bits: Buffer }[] = [];
  const ascending = Float64Array.from(sequences).sort();
  for (let from = 0; from < ascending.length; ) {
    const firstSequence = ascending[from] ?? 0;
    let to = from;
    while (to < ascending.length && (ascending[to] ?? 0) - firstSequence < BITMAP_BITS_MAX) to += 1;
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

/** Appends the sequences of a bitmap to `numbers`, ascending; the reverse of `encodeBitmaps`. */
function decodeBitmap(firstSequence: number, bits: Buffer, numbers: number[]): void {
  for (const [at, byte] of bits.entries()) {
    if (byte === 0) continue;
    for (let bit = 0; bit < 8; bit += 1) {
      if ((byte & (1 << bit)) !== 0) numbers.push(firstSequence + at * 8 + bit);
    }
  }
}

/** A row of `spool_counter`. `settled` is a bitmap; this file decodes it, because decoding in SQL takes a thousand times as long. */
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

/** The summed counters of a spool, and its settled sequences. */
export type SpoolCounters = {
  accepted: number;
  charged: number;
  overBudget: number;
  invalid: number;
  rejected: number;
  settled: Sequences;
};

/** Columns of `spool_counter` for a `select` or `returning`, with the field names of `SpoolCounterRow`. */
export const COUNTER_COLUMNS = `id, coalesce(spool_id, '${NIL_SPOOL_ID}') as "spoolId", accepted, charged, over_budget, invalid, rejected,
  first_sequence, settled`;

/** Adds rows to the counters of their spools. */
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

/** Most counter rows read at once: each can have 8 KiB of bits. */
const PAGE_ROWS = 500;

/**
 * Returns the counters of the given spools (`null`: all), both merged and not merged. The counts are exact only in a snapshot. Outside of
 * one, rows that are merged between the two queries are counted twice; the settled sequences are correct anyway, because rows are
 * read before totals.
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

/**
 * Reads which of these positions are settled, by a click or by an unreadable record. It reads all counters of their spools, so call it
 * for few positions, such as those of rejected records.
 */
export async function readSettledSequences(
  connection: Connection,
  positions: readonly SpoolPosition[],
): Promise<(from: SpoolPosition) => boolean> {
  if (positions.length === 0) return () => false;
  const counters = await readSpoolCounters(connection, [...new Set(positions.map(({ spoolId }) => spoolId))]);
  return ({ spoolId, sequence }) =>
    counters.get(spoolId)?.settled.some(({ start, end }) => start <= sequence && sequence < end) ?? false;
}
