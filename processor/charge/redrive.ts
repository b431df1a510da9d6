import { TollwayError } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { readRecord } from '../../contract/click-event.ts';
import { appendSpoolCounters, NOTHING } from '../../ledger/spool-counters.ts';
import { BEGIN_CHARGE } from '../../ledger/store.ts';
import { type Outcome, retryRaces, settle } from './charge-clicks.ts';

export type DeadLetter = {
  readonly id: bigint;
  readonly recordKey: string | null;
  readonly clickId: string | null;
  readonly adId: number | null;
  readonly reason: string;
  readonly detail: string;
  readonly raw: Buffer | null;
  readonly settledAt: Date;
  readonly discardedAt: Date | null;
};

const COLUMNS = `id, record_key as "recordKey", click_id as "clickId", ad_id as "adId", reason, detail, raw,
  settled_at as "settledAt", discarded_at as "discardedAt"`;

/** The dead letters that wait, oldest first. */
export async function listDeadLetters(pool: Pool, limit: number): Promise<DeadLetter[]> {
  const { rows } = await pool.query<DeadLetter>(
    `select ${COLUMNS} from dead_letter where discarded_at is null order by id limit $1`,
    [limit],
  );
  return rows;
}

/** One dead letter. Throws `unknown_dead_letter`. */
export async function readDeadLetter(pool: Pool, id: bigint): Promise<DeadLetter> {
  const { rows } = await pool.query<DeadLetter>(`select ${COLUMNS} from dead_letter where id = $1`, [id]);
  const [letter] = rows;
  if (!letter) throw new TollwayError('unknown_dead_letter', `There is no dead letter ${id}`);
  return letter;
}

/** The ids of the dead letters that wait, oldest first; `after` of one page is the last id of the page before. */
export async function listDeadLetterIds(pool: Pool, after: bigint, limit: number): Promise<bigint[]> {
  const { rows } = await pool.query<{ id: bigint }>(
    'select id from dead_letter where discarded_at is null and id > $1 order by id limit $2',
    [after, limit],
  );
  return rows.map(({ id }) => id);
}

/** The answer of a transaction that is rolled back: the letter stays as it was. */
class Undone extends Error {
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    super('Undone: the letter stays');
    this.outcome = outcome;
  }
}

/**
 * Settles one rejected record anew, with today's code and tables: the letter goes and the click gets its row, in one
 * transaction. A click of any age is taken that the ledger still has a day for. What is rejected again keeps its letter; so does a
 * `duplicate` under another key, because the letter is what settles its sequence: discard it.
 * Throws `unknown_dead_letter`, `discarded`, and `watermark` for a letter that holds a watermark.
 */
export async function redrive(pool: Pool, id: bigint): Promise<Outcome> {
  try {
    return await retryRaces(() =>
      inTransaction(pool, (connection) => redriveIn(connection, id), BEGIN_CHARGE),
    );
  } catch (error) {
    if (error instanceof Undone) return error.outcome;
    throw error;
  }
}

type Letter = {
  readonly identity: string;
  readonly record_key: string | null;
  readonly spoolId: string | null;
  readonly raw: Buffer | null;
  readonly counted: boolean;
  readonly discarded_at: Date | null;
};

async function redriveIn(connection: Connection, id: bigint): Promise<Outcome> {
  const { rows } = await connection.query<Letter>(
    'delete from dead_letter where id = $1 returning identity, record_key, spool_id as "spoolId", raw, counted, discarded_at',
    [id],
  );
  const [letter] = rows;
  if (!letter) throw new TollwayError('unknown_dead_letter', `There is no dead letter ${id}`);
  if (letter.discarded_at) {
    const message = `Dead letter ${id} was discarded`;
    throw new TollwayError('discarded', message);
  }
  const record = readRecord(
    { key: letter.record_key, value: letter.raw },
    letter.identity.replace(/^position /, ''),
  );
  if (record.is === 'watermark') {
    const message = `Dead letter ${id} is a watermark and cannot be redriven. Discard it; the spool sends a newer one`;
    throw new TollwayError('watermark', message);
  }
  const { outcomes, lateKeys } = await settle(connection, [record], 'redrive');
  const [outcome = { outcome: 'duplicate', reason: null } as const] = outcomes;
  const settlesSequence = letter.spoolId !== null;
  const staysAsCopy = outcome.outcome === 'duplicate' && settlesSequence && lateKeys === 0;
  if (outcome.outcome === 'rejected' || staysAsCopy) throw new Undone(outcome);
  if (letter.counted)
    await appendSpoolCounters(connection, [
      { ...NOTHING, spoolId: letter.spoolId, rejected: -1, sequences: [] },
    ]);
  return outcome;
}

/** Gives up the raw bytes of a dead letter. The click stays `rejected`. Throws `unknown_dead_letter`. */
export async function discard(pool: Pool, id: bigint): Promise<void> {
  const { rowCount } = await pool.query(
    'update dead_letter set raw = null, discarded_at = coalesce(discarded_at, now()) where id = $1',
    [id],
  );
  if (rowCount === 0) throw new TollwayError('unknown_dead_letter', `There is no dead letter ${id}`);
}
