import { arrayLiteral, type Connection, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { BITMAP_BITS_MAX, encodeBitmaps } from './counters.ts';

/*
 * Which clicks arrived again after they were settled, and when, so that the story of a click can tell. A row of `seen_duplicate` is one spool's
 * part of one batch, with a bitmap of sequences: a replay of a whole stream writes a row for each batch and spool, not for each click, and
 * a batch without duplicates writes nothing. Of more than 16 copies of a click in one batch, 16 are recorded. Only clicks with a record key
 * have a sequence, so copies without one are not recorded.
 */

/** Most copies of a click that one batch records. */
const COPIES_MAX = 16;

/** Records the duplicates of a batch, each at its position in its spool. A click that is given twice was seen twice. */
export async function insertSeenDuplicates(
  connection: Connection,
  duplicates: readonly ReadClick[],
): Promise<void> {
  if (duplicates.length === 0) return;
  const rows = [...sequencesOf(duplicates)].flatMap(([spoolId, sequences]) =>
    roundsOf(sequences)
      .flatMap(encodeBitmaps)
      .map((piece) => ({ spoolId, ...piece })),
  );
  await connection.query({
    name: 'insert seen duplicates',
    text: `insert into seen_duplicate (spool_id, first_sequence, sequences)
      select * from unnest($1::uuid[], $2::bigint[], $3::bytea[])`,
    values: [
      rows.map(({ spoolId }) => spoolId),
      arrayLiteral(rows.map(({ firstSequence }) => firstSequence)),
      rows.map(({ bits }) => bits),
    ],
  });
}

/** The sequences of duplicates by spool. */
function sequencesOf(duplicates: readonly ReadClick[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const { from } of duplicates) {
    if (from === null) continue;
    const sequences = found.get(from.spoolId);
    if (sequences) sequences.push(from.sequence);
    else found.set(from.spoolId, [from.sequence]);
  }
  return found;
}

/** A bitmap has a sequence once, so the second copies of clicks are in a second round, and so on. */
function roundsOf(sequences: readonly number[]): number[][] {
  const rounds: number[][] = [];
  let copies = 0;
  let latest = 0;
  for (const sequence of Float64Array.from(sequences).sort()) {
    copies = sequence === latest ? copies + 1 : 0;
    latest = sequence;
    if (copies >= COPIES_MAX) continue;
    const round = rounds[copies] ?? [];
    rounds[copies] = round;
    round.push(sequence);
  }
  return rounds;
}

/** When duplicates of the click at a position arrived, oldest first. */
export async function readSeenDuplicates(
  connection: Connection,
  spoolId: string,
  sequence: bigint,
): Promise<Date[]> {
  // `get_bit` fails beyond the end of a bitmap.
  const { rows } = await connection.query<{ seenAt: Date }>(
    `select seen_at as "seenAt" from seen_duplicate
     where spool_id = $1 and first_sequence between $2::bigint - ${BITMAP_BITS_MAX} and $2
       and case when $2 - first_sequence < 8 * length(sequences) then get_bit(sequences, $2 - first_sequence) = 1 else false end
     order by seen_at`,
    [spoolId, sequence],
  );
  return rows.map(({ seenAt }) => seenAt);
}

/** Deletes what was seen before the evidence that is kept; all, if none is kept. */
export async function deleteOldSeenDuplicates(pool: Pool): Promise<void> {
  await pool.query(
    `delete from seen_duplicate where seen_at < (select coalesce(evidence_floor, 'infinity') from ledger_window)`,
  );
}
