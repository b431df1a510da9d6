import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { maintain } from '../../ledger/maintenance.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord, TestSpool } from '../support/records.ts';
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
        expect.stringContaining(`spent by campaign ${stays.campaign.id} (Test campaign) on `),
      ]);
      await restoreZone(lacks);
      expect((await reconcile(database.pool, { brokers: [], deep })).problems).toHaveLength(2);
    },
  );
});

it('while the server does not know the time zone, maintenance keeps days of the ledger and does all else', async () => {
  const retention = { clickAgeDays: 2, linkLifeDays: 3, evidenceDays: 5, acceptsStep: true };
  const options = { ...retention, ledgerRetentionDays: 5, brokerRetentionDays: 7 };
  const run = () => maintain(database.pool, options, silent);
  const oldDays = async () => {
    const { rows } = await database.pool.query<{
      ledger: number;
      evidence: number;
      nonces: number;
      chunks: number;
    }>(
      `select (select count(*)::int from ledger) as ledger, (select count(*)::int from click_evidence) as evidence,
         (select count(*)::int from pg_inherits where inhparent = 'spent_nonce'::regclass) as nonces,
         (select count(*)::int from broker_chunk) as chunks`,
    );
    return rows[0];
  };
  const account = await addAccount(database.pool);
  const clickedAt = Date.now() - 10 * DAY_MS;
  await chargeBatch(database.pool, [clickRecord({ ad: account.ad, clickedAt })]);
  await createPostgresPublisher(database.pool).publish([new TestSpool().click()]);
  await database.pool.query(`update broker_chunk set settled_at = now() - interval '8 days'`);
  const before = await oldDays();
  expect(before).toEqual({ ledger: 1, evidence: 1, nonces: expect.any(Number), chunks: 1 });

  await loseZone(account);
  await expect(run()).rejects.toMatchObject({ code: 'bad_time_zone' });
  await database.pool.query(`update ledger_window set floor_raised_at = now() - interval '61 minutes'`);
  await expect(run()).rejects.toMatchObject({ code: 'bad_time_zone' });
  const after = await oldDays();
  expect(after).toEqual({ ledger: 1, evidence: 0, nonces: expect.any(Number), chunks: 0 });
  expect(after?.nonces).toBeLessThan(before?.nonces ?? 0);
  const { rows } = await database.pool.query('select maintained_at from ledger_window');
  expect(rows).toEqual([{ maintained_at: null }]);

  await restoreZone(account);
  await run();
  expect(await oldDays()).toMatchObject({ ledger: 0 });
  await expectBalanced(database.pool);
  const sums = await database.pool.query('select clicks, charged_micros from click_rollup_day');
  expect(sums.rows).toEqual([{ clicks: 1n, charged_micros: 250_000n }]);
});
