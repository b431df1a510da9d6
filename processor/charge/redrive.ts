import { TollwayError } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool, RolledBack } from '../../common/postgres/postgres.ts';
import { readRecord } from '../../contract/click-event.ts';
import { takeDeadLetter } from '../../ledger/dead-letters.ts';
import { appendSpoolCounters, ZERO_COUNTS } from '../../ledger/spool-counters.ts';
import { BEGIN_CHARGE } from '../../ledger/store.ts';
import { type Outcome, retryRaces, settle } from './charge-clicks.ts';

/**
 * Settles one rejected record anew, with today's code and tables: the letter goes and the click gets its row, in one
 * transaction. A click of any age is taken that the ledger still has a day for. What is rejected again keeps its letter; so does a
 * `duplicate` under another key, because the letter is what settles its sequence: discard it.
 * Throws `unknown_dead_letter`, `already_discarded`, and `is_watermark` for a letter that holds a watermark.
 */
export function redrive(pool: Pool, id: bigint): Promise<Outcome> {
  return retryRaces(() => inTransaction(pool, (connection) => redriveIn(connection, id), BEGIN_CHARGE));
}

async function redriveIn(connection: Connection, id: bigint): Promise<Outcome | RolledBack<Outcome>> {
  const letter = await takeDeadLetter(connection, id);
  if (letter.discardedAt) {
    const message = `Dead letter ${id} was discarded`;
    throw new TollwayError('already_discarded', message);
  }
  const record = readRecord(
    { key: letter.recordKey, value: letter.raw },
    letter.identity.replace(/^position /, ''),
  );
  if (record.is === 'watermark') {
    const message = `Dead letter ${id} is a watermark and cannot be redriven. Discard it; the spool sends a newer one`;
    throw new TollwayError('is_watermark', message);
  }
  const { outcomes, lateKeys } = await settle(connection, [record], 'redrive');
  const [outcome = { outcome: 'duplicate', reason: null } as const] = outcomes;
  const settlesSequence = letter.spoolId !== null;
  const staysAsCopy = outcome.outcome === 'duplicate' && settlesSequence && lateKeys === 0;
  // The letter stays.
  if (outcome.outcome === 'rejected' || staysAsCopy) return new RolledBack(outcome);
  if (letter.counted)
    await appendSpoolCounters(connection, [
      { ...ZERO_COUNTS, spoolId: letter.spoolId, rejected: -1, sequences: [] },
    ]);
  return outcome;
}
