import { TollwayError } from '../../common/errors.ts';
import { type Connection, joinTransaction, type Pool, RolledBack } from '../../common/postgres/postgres.ts';
import { readRecord } from '../../contract/read-record.ts';
import { insertRedrive, takeDeadLetter } from '../../ledger/charge/dead-letters.ts';
import { noteNoDeadLetters } from '../../ledger/charge/dead-letters-waiting.ts';
import { BEGIN_CHARGE } from '../../ledger/charge-locks.ts';
import { appendSpoolCounters, ZERO_COUNTS } from '../../ledger/spools/counters.ts';
import { settle } from './charge-clicks.ts';
import { retryRaces } from './retry-races.ts';
import type { RecordResult } from './settlement.ts';

/**
 * Settles one rejected record again with the current code and ads. One transaction deletes the dead letter and inserts the click's row: the
 * open one of a connection, which must have begun with `BEGIN_CHARGE`, or one of its own.
 * `CLICK_AGE_MAX_DAYS` does not apply; the ledger must still have the day's partition. A record that is rejected again keeps its dead
 * letter. A `duplicate` whose click was settled under another key keeps it too, because the dead letter settles its own sequence; discard
 * it instead.
 * Throws `unknown_dead_letter`, `already_discarded`, and `is_watermark` for a letter that holds a watermark.
 */
export function redrive(database: Pool | Connection, id: bigint): Promise<RecordResult> {
  return retryRaces(() => joinTransaction(database, (connection) => redriveIn(connection, id), BEGIN_CHARGE));
}

async function redriveIn(
  connection: Connection,
  id: bigint,
): Promise<RecordResult | RolledBack<RecordResult>> {
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
  const isCopy = outcome.outcome === 'duplicate' && settlesSequence && lateKeys === 0;
  // The rollback keeps the dead letter.
  if (outcome.outcome === 'rejected' || isCopy) return new RolledBack(outcome);
  const clickId = record.is === 'click' ? record.click.clickId : letter.clickId;
  await insertRedrive(connection, id, { ...letter, clickId }, outcome.outcome);
  if (letter.counted)
    await appendSpoolCounters(connection, [
      { ...ZERO_COUNTS, spoolId: letter.spoolId, rejected: -1, sequences: [] },
    ]);
  await noteNoDeadLetters(connection);
  return outcome;
}
