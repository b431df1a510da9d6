import { inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick, Unreadable } from '../../contract/click-event.ts';
import { collectKeys } from '../../ledger/charge/batch-keys.ts';
import { insertDeadLetters, type Rejection } from '../../ledger/charge/dead-letters.ts';
import { noteDeadLetters } from '../../ledger/charge/dead-letters-waiting.ts';
import { hasPriorOutcome, readPriorOutcomes } from '../../ledger/charge/prior-outcomes.ts';
import { BEGIN_CHARGE, lockAdvertisers, lockSpoolsExclusive } from '../../ledger/charge-locks.ts';
import { appendSpoolCounters, countBySpool } from '../../ledger/spools/counters.ts';
import { settleLateKeys } from '../../ledger/spools/late-keys.ts';
import { withoutSettled } from './rejections.ts';
import { countLateKeys, outcomesOf, type Settlement } from './settlement.ts';

/**
 * Stores one record as a dead letter, `rejected: poison`, with `detail` as the reason. For a record that still fails when it is settled
 * alone while other clicks can be charged. A record that is already settled becomes a duplicate.
 */
export async function quarantine(
  pool: Pool,
  record: ReadClick | Unreadable,
  detail: string,
): Promise<Settlement> {
  return inTransaction(
    pool,
    async (connection) => {
      const clicks = record.is === 'click' ? [record] : [];
      const keys = collectKeys(clicks);
      await lockAdvertisers(connection, keys.advertiserIds);
      // Exclusive: whether the sequence is settled is read below and must not change before the commit.
      await lockSpoolsExclusive(connection, record.from === null ? [] : [record.from.spoolId]);
      const { window, prior } = await readPriorOutcomes(connection, clicks, keys);
      const lateKeys = await settleLateKeys(connection, clicks, prior, window);
      const poison: Rejection = { record, reason: 'poison', detail };
      const rejections = clicks.some((click) => hasPriorOutcome(click, prior))
        ? []
        : await withoutSettled(connection, [poison], () => new Set());
      const inserted = await insertDeadLetters(connection, rejections);
      await appendSpoolCounters(connection, [...lateKeys, ...countBySpool([], rejections, inserted, [])]);
      await noteDeadLetters(connection, inserted.size);
      const outcomes = outcomesOf([record], null, [], rejections, inserted);
      return { outcomes, overDelivery: new Map(), lateKeys: countLateKeys(lateKeys) };
    },
    BEGIN_CHARGE,
  );
}
