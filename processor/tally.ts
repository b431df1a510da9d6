import { arrayLiteral, type Connection } from '../common/postgres.ts';
import type { ClickOrigin, ReadMark, ReadRecord } from '../producer/click-event.ts';
import { identityOf, type Rejection } from './dead-letters.ts';
import type { Settled } from './ledger.ts';

/** The protocol takes 65 535 parameters in one statement. */
const ORIGINS_PER_STATEMENT = 5_000;

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
  for (const { record, verdict } of settled) {
    const row = of(record.from?.origin ?? null);
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

/** Appends to the tally, a row an origin: nothing is updated, so nobody waits. */
export async function appendTallies(connection: Connection, tallies: readonly OriginTally[]): Promise<void> {
  for (let at = 0; at < tallies.length; at += ORIGINS_PER_STATEMENT) {
    await appendSome(connection, tallies.slice(at, at + ORIGINS_PER_STATEMENT));
  }
}

async function appendSome(connection: Connection, tallies: readonly OriginTally[]): Promise<void> {
  const values = tallies.flatMap((tally) => [
    tally.origin,
    tally.accepted,
    tally.charged,
    tally.over_budget,
    tally.invalid,
    tally.rejected,
    arrayLiteral(tally.sequences),
  ]);
  const rows = tallies.map((_, row) => {
    const parameter = (column: number) => `$${row * 7 + column}`;
    return `(${parameter(1)}::uuid, ${[2, 3, 4, 5, 6].map((c) => `${parameter(c)}::bigint`)}, ${parameter(7)}::bigint[])`;
  });
  await connection.query(
    `insert into origin_tally (origin, accepted, charged, over_budget, invalid, rejected, sequences) values ${rows}`,
    values,
  );
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
     appended as (
       select distinct origin_tally.origin, sequence from origin_tally, unnest(sequences) sequence
       where origin_tally.origin = any($1::uuid[])
     )
     select asked.origin, asked.sequence from asked join origin_total total using (origin)
       where total.sequences @> asked.sequence
     union all
     select origin, sequence from asked join appended using (origin, sequence)`,
    [arrayLiteral(asked.map(({ origin }) => origin)), arrayLiteral(asked.map(({ sequence }) => sequence))],
  );
  const settled = new Set(rows.map(({ origin, sequence }) => `${origin}.${sequence}`));
  return ({ origin, sequence }) => settled.has(`${origin}.${sequence}`);
}
