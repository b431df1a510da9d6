import { TollwayError } from '../common/errors.ts';
import { inTransaction, type Pool } from '../common/postgres.ts';
import { readRecord } from '../producer/click-event.ts';
import { type Outcome, settle } from './charge-clicks.ts';
import { BEGIN_CHARGE } from './ledger.ts';
import { appendTallies, isForeign } from './tally.ts';

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
  if (!letter) throw new TollwayError('unknown_dead_letter', `Expected a dead letter, got ${id}`);
  return letter;
}

/**
 * Settles one rejected record anew, with today's code and tables: the letter goes and the click gets its row, in one
 * transaction. A click of any age is taken that the ledger still has a day for. What is rejected again keeps its letter.
 * Throws `unknown_dead_letter`, `discarded`.
 */
export async function redrive(pool: Pool, id: bigint): Promise<Outcome> {
  let rejectedAgain: Outcome | null = null;
  try {
    return await inTransaction(
      pool,
      async (connection) => {
        const { rows } = await connection.query<{
          identity: string;
          record_key: string | null;
          raw: Buffer | null;
          discarded_at: Date | null;
        }>('delete from dead_letter where id = $1 returning identity, record_key, raw, discarded_at', [id]);
        const [letter] = rows;
        if (!letter) throw new TollwayError('unknown_dead_letter', `Expected a dead letter, got ${id}`);
        if (letter.discarded_at)
          throw new TollwayError(
            'discarded',
            `Expected a dead letter that was kept, got ${id}, which was discarded`,
          );

        const position = letter.identity.replace(/^position /, '');
        const record = readRecord({ key: letter.record_key, value: letter.raw }, position);
        const settlement = await settle(connection, [record], 'redrive');
        const outcome = settlement.outcomes[0] ?? { outcome: 'duplicate', reason: null };
        if (outcome.outcome === 'rejected') {
          rejectedAgain = outcome;
          throw new TollwayError('rejected_again', 'Undone: the letter stays');
        }
        if (!isForeign(record)) {
          const counts = { accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: -1, sequences: [] };
          await appendTallies(connection, [{ origin: record.from?.origin ?? null, ...counts }]);
        }
        return outcome;
      },
      BEGIN_CHARGE,
    );
  } catch (error) {
    if (rejectedAgain !== null) return rejectedAgain;
    throw error;
  }
}

/** Gives up the raw bytes of a dead letter. The click stays `rejected`. Throws `unknown_dead_letter`. */
export async function discard(pool: Pool, id: bigint): Promise<void> {
  const { rowCount } = await pool.query(
    'update dead_letter set raw = null, discarded_at = coalesce(discarded_at, now()) where id = $1',
    [id],
  );
  if (rowCount === 0) throw new TollwayError('unknown_dead_letter', `Expected a dead letter, got ${id}`);
}
