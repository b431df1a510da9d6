import { describe, expect, it } from 'vitest';
import { postgresBacklog } from '../../../brokers/postgres/backlog.ts';
import { booksJson } from '../../../ledger/live/event-json.ts';
import {
  isReconciledSince,
  readLatestReconciliation,
  storeReconciliation,
} from '../../../ledger/reconciliation/latest-reconciliation.ts';
import { reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { TestSpool } from '../../support/records.ts';

const database = testDatabase();

describe('the stored reconciliation', () => {
  it('does not exist before the first one', async () => {
    expect(await readLatestReconciliation(database.pool)).toBeNull();
    expect(await isReconciledSince(database.pool, 60_000)).toBe(false);
  });

  it('is the latest result', async () => {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const clicks = [spool.click({ ad }), spool.click({ ad })];
    spool.next();
    await chargeBatch(database.pool, [...clicks, spool.watermark()]);
    const first = await reconcile(database.pool, { brokers: [postgresBacklog] });
    await storeReconciliation(database.pool, first, { hasBroker: true, durationMs: 12.4 });
    expect(await readLatestReconciliation(database.pool)).toEqual({
      checkedAt: expect.any(Date),
      durationMs: 12,
      balanced: true,
      ...{ accepted: 3, charged: 2, overBudget: 0, invalid: 0, rejected: 0, unattributed: 0 },
      ...{ inFlight: 0, missing: 1, problemCount: 0, problems: [] },
    });
    expect(await isReconciledSince(database.pool, 60_000)).toBe(true);
  });

  it('keeps twenty problems and the number of all, and does not know missing clicks without the broker', async () => {
    const result = await reconcile(database.pool, { brokers: [] });
    const problems = Array.from({ length: 30 }, (_, at) => `problem ${at}`);
    const stored = { ...result, balanced: false, problems };
    await storeReconciliation(database.pool, stored, { hasBroker: false, durationMs: 1 });
    const kept = {
      balanced: false,
      inFlight: null,
      missing: null,
      problemCount: 30,
      problems: problems.slice(0, 20),
    };
    const latest = await readLatestReconciliation(database.pool);
    expect(latest).toMatchObject(kept);
    expect(booksJson(latest)).toMatchObject(kept);
  });

  it('is old after its time, and if the clock of the database was set back', async () => {
    for (const shift of ["- interval '61 seconds'", "+ interval '1 hour'"]) {
      await database.pool.query(`update reconciliation set checked_at = now() ${shift}`);
      expect(await isReconciledSince(database.pool, 60_000)).toBe(false);
    }
  });
});
