import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addBudgetEntry } from '../../ledger/budget-entries.ts';
import { updateCampaign } from '../../ledger/campaigns.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { rollUp } from '../../ledger/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { GONE, moveToTimeZone } from '../support/time-zones.ts';
import { addWebhook, takeEvents } from '../support/webhook-events.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

const loseZone = ({ advertiser }: Account) => moveToTimeZone(database.pool, advertiser.id, GONE);
const restoreZone = ({ advertiser }: Account) => moveToTimeZone(database.pool, advertiser.id, 'UTC');

describe('while the server does not know the time zone, a campaign keeps the state of its day', () => {
  /** The state of an ad and its campaign: until when the ad is exhausted, whether it is held, and the latest day whose cap was reached. */
  async function stateOf({ ad }: Account) {
    const { rows } = await database.pool.query<{ until: string | null; held: boolean; day: string | null }>(
      `select exhausted_until::text as until, held, daily_cap_reached_on::text as day
       from ad join campaign on campaign.id = campaign_id where ad.id = $1`,
      [ad.id],
    );
    return rows[0];
  }
  const addSpent = async (terms = {}) => {
    const account = await addAccount(database.pool, { price: '0.50', dailyCap: '1.00', ...terms });
    await addWebhook(database.pool);
    await chargeBatch(database.pool, [clickRecord({ ad: account.ad }), clickRecord({ ad: account.ad })]);
    return account;
  };
  const topUp = ({ advertiser }: Account) =>
    addBudgetEntry(database.pool, advertiser.id, 'top_up', 1_000_000n);

  it('after a top-up and a change, and its event is sent once', async () => {
    const account = await addSpent();
    const spent = await stateOf(account);
    expect(spent).toEqual({ until: expect.stringMatching(/^\d/), held: false, day: expect.any(String) });
    expect(await takeEvents(database.pool)).toMatchObject([{ type: 'campaign.cap_reached' }]);
    await loseZone(account);
    await topUp(account);
    expect(await stateOf(account)).toEqual(spent);
    await updateCampaign(database.pool, account.campaign.id, { status: 'paused' });
    await updateCampaign(database.pool, account.campaign.id, { status: 'active' });
    expect(await stateOf(account)).toEqual(spent);
    await restoreZone(account);
    await topUp(account);
    expect(await stateOf(account)).toEqual(spent);
    expect(await takeEvents(database.pool)).toEqual([]);
  });

  it('and its ads stay held until the same time, unless holding ends', async () => {
    const account = await addAccount(database.pool, { price: '0.01', dailyCap: '1.00' });
    const { id } = account.campaign;
    await updateCampaign(database.pool, id, {
      ...{ pacing: 'rest', hold: true, fallbackUrl: 'https://example.com/' },
    });
    await chargeBatch(
      database.pool,
      Array.from({ length: 99 }, () => clickRecord({ ad: account.ad })),
    );
    const ahead = await stateOf(account);
    expect(ahead).toEqual({ until: expect.stringMatching(/^\d/), held: true, day: null });
    await loseZone(account);
    await topUp(account);
    expect(await stateOf(account)).toEqual(ahead);
    await updateCampaign(database.pool, id, { hold: false });
    expect(await stateOf(account)).toEqual({ until: null, held: false, day: null });
  });

  it('but its ads show again after the top-up of an exhausted budget', async () => {
    const account = await addSpent({ budget: '1.20', dailyCap: '5.00' });
    expect(await stateOf(account)).toEqual({ until: 'infinity', held: false, day: null });
    await loseZone(account);
    await topUp(account);
    expect(await stateOf(account)).toEqual({ until: null, held: false, day: null });
  });
});

describe('while the server does not know the time zone, reconciliation', () => {
  it.each([false, true])(
    'leaves out the days of the advertiser and checks all others (deep: %s)',
    async (deep) => {
      const [stays, lacks] = [
        await addAccount(database.pool, { dailyCap: '10.00' }),
        await addAccount(database.pool, { dailyCap: '10.00' }),
      ];
      const click = () => [clickRecord({ ad: stays.ad }), clickRecord({ ad: lacks.ad })];
      await chargeBatch(database.pool, click());
      await rollUp(database.pool);
      // These are not in the rollup.
      await chargeBatch(database.pool, click());
      await loseZone(lacks);
      expect(await reconcile(database.pool, { brokers: [], deep })).toMatchObject({
        ...{ balanced: true, problems: [], advertisers: [{ balanced: true }, { balanced: true }] },
      });
      await database.pool.query('update campaign_day set spent_micros = spent_micros + 1');
      expect((await reconcile(database.pool, { brokers: [], deep })).problems).toEqual([
        expect.stringContaining(`spent by campaign ${stays.campaign.id} on `),
      ]);
      await restoreZone(lacks);
      expect((await reconcile(database.pool, { brokers: [], deep })).problems).toHaveLength(2);
    },
  );
});
