import { expect, it } from 'vitest';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { parseAmount } from '../../common/money.ts';
import { updateCampaign } from '../../ledger/campaigns.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { rebuildRollup, rollUp } from '../../ledger/rollup.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

// Clicks that are stamped before the time of the rollup, because the clock of the database server was set back, are in no sum of it. A cap that
// is set then does not count them. docs/runbook.md says what to do.
it.each([
  ['cap', 'capMicros', 'campaign spent'],
  ['daily cap', 'dailyCapMicros', 'spent by campaign'],
] as const)(
  'a %s that was set after the clock was set back is right again after a rebuild, if it is removed and set again',
  async (_, cap, problem) => {
    const { pool, drop } = await createTestDatabase();
    try {
      const { ad, campaign } = await addAccount(pool);
      const charge = () => chargeBatch(pool, [clickRecord({ ad }), clickRecord({ ad })]);
      const setCap = (amount: string | null) =>
        updateCampaign(pool, campaign.id, { [cap]: amount === null ? null : parseAmount(amount) });
      const problems = async () =>
        (await reconcile(pool, { brokers: [postgresBacklog], deep: true })).problems;
      await rollUp(pool);
      await pool.query("update click_rollup_state set rolled_to = rolled_to + interval '1 hour'");
      await charge();
      await setCap('0.60');
      expect(await charge()).toEqual(['charged', 'charged']);
      expect(await problems()).toContainEqual(expect.stringContaining(problem));
      await rebuildRollup(pool);
      expect(await problems()).toEqual([expect.stringContaining(problem)]);
      await setCap(null);
      await expect(setCap('0.60')).rejects.toMatchObject({ code: 'cap_below_spent' });
      await setCap('1.25');
      await expectBalanced(pool);
      expect((await charge()).toSorted()).toEqual([
        'charged',
        `over_budget: ${cap === 'capMicros' ? 'cap' : 'daily_cap'}`,
      ]);
    } finally {
      await drop();
    }
  },
);
