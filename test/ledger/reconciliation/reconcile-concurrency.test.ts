import { expect, it } from 'vitest';
import { postgresBacklog } from '../../../brokers/postgres/backlog.ts';
import { createPostgresPublisher } from '../../../brokers/postgres/publisher.ts';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { dropClosedDays, maintain } from '../../../ledger/maintenance.ts';
import { reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import { mergeSpoolCounters } from '../../../ledger/spools/merge-counters.ts';
import { chargeClicks } from '../../../processor/charge/charge-clicks.ts';
import { chargeBatch, expectBalanced, untilWaitingForLock } from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { TestSpool } from '../../support/records.ts';

const SHORT = {
  clickAgeDays: 2,
  linkLifeDays: 3,
  evidenceDays: 5,
  ledgerRetentionDays: 5,
  brokerRetentionDays: 7,
  acceptsStep: true,
};

it('Reconciliation is exact while clicks are charged and counters merged', async () => {
  const database = await createTestDatabase({ poolSize: 20 });
  try {
    const { ad } = await addAccount(database.pool, { budget: '50.00', price: '0.10' });
    const publisher = createPostgresPublisher(database.pool);
    const spool = new TestSpool();
    let busy = true;
    const traffic = async () => {
      for (let batch = 0; batch < 20; batch += 1) {
        const clicks = Array.from({ length: 15 }, () => spool.click({ ad }));
        await publisher.publish([...clicks, spool.watermark()]);
        await chargeBatch(database.pool, clicks.slice(0, 7));
        await chargeBatch(database.pool, clicks);
        await database.pool.query('update broker_chunk set settled_at = now() where payload like $1', [
          Buffer.from(`%${clicks[0]?.key}%`),
        ]);
        await mergeSpoolCounters(database.pool);
      }
    };
    const reconciling = (async () => {
      let runs = 0;
      for (; busy; runs += 1) {
        const reconciliation = await reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
        expect(reconciliation.problems).toEqual([]);
        for (const advertiser of reconciliation.advertisers)
          expect(advertiser.remainingMicros >= 0n).toBe(true);
      }
      return runs;
    })();
    await Promise.all([traffic(), traffic(), traffic()]).finally(() => {
      busy = false;
    });
    expect(await reconciling).toBeGreaterThan(3);
    const reconciliation = await expectBalanced(database.pool);
    expect(reconciliation).toMatchObject({ accepted: 900, charged: 500, overBudget: 400, inFlight: 0 });
  } finally {
    await database.drop();
  }
});

it('Reconciliation is exact while a day is dropped', async () => {
  const database = await createTestDatabase();
  try {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const old = spool.click({ ad, clickedAt: Date.now() - 10 * DAY_MS });
    await chargeClicks(database.pool, [old, spool.click({ ad })], { clickAgeMaxDays: 10_000 });
    await maintain(database.pool, SHORT, silent);
    // Blocks the reconciliation before it reads the ledger, and tries to drop the day at that moment.
    const { reconciled, dropped } = await inTransaction(database.pool, async (gate) => {
      await gate.query('lock table advertiser in access exclusive mode');
      const reconciled = reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
      await untilWaitingForLock(database.pool);
      const dropped = dropClosedDays(database.pool, silent, 0).catch((error: unknown) => error);
      await Promise.race([dropped, untilWaitingForLock(database.pool, 2)]);
      return { reconciled, dropped };
    });
    expect((await reconciled).problems).toEqual([]);
    await dropped;
    await expectBalanced(database.pool);
  } finally {
    await database.drop();
  }
});
