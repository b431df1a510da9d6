import { beforeEach, describe, expect, it } from 'vitest';
import { parseAmount } from '../../common/money.ts';
import { inTransaction, RolledBack } from '../../common/postgres/postgres.ts';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { setAdvertiserStatus } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign, updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { settle } from '../../processor/charge/charge-clicks.ts';
import { chargeBatch, chargeBatchTwice, shuffle } from '../support/charge-batch.ts';
import { addAccount, addAdTo, capDaily, testDatabase } from '../support/database.ts';
import { clickRecord, type NamedAd } from '../support/records.ts';
import { takeEvents } from '../support/webhook-events.ts';

const database = testDatabase();
beforeEach(() => takeEvents(database.pool));

const clicksOn = (ad: NamedAd, count: number) => Array.from({ length: count }, () => clickRecord({ ad }));

/** The events since the last call, each as its type and the given fields of its data. */
async function events(...fields: string[]): Promise<string[]> {
  return (await takeEvents(database.pool)).map(({ type, data }) =>
    [type, ...fields.map((field) => String((data as Record<string, unknown>)[field] ?? ''))].join(' ').trim(),
  );
}

const enter = (id: number, kind: 'top_up' | 'adjustment', amount: string) =>
  addBudgetEntry(database.pool, id, kind, parseAmount(amount));

describe('budget.low', () => {
  it('is sent once at each threshold, with what remains', async () => {
    const { ad, advertiser } = await addAccount(database.pool, { budget: '10.00', price: '0.50' });
    await chargeBatchTwice(database.pool, clicksOn(ad, 15));
    expect(await takeEvents(database.pool)).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await takeEvents(database.pool)).toEqual([
      {
        type: 'budget.low',
        advertiserId: advertiser.id,
        data: {
          ...{ advertiserId: advertiser.id, advertiserName: 'Test advertiser', currency: 'USD' },
          ...{ remaining: '2.00', percent: 20, threshold: '2.00', level: '10.00' },
        },
      },
    ]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 2));
    expect(await events()).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await events('percent', 'remaining')).toEqual(['budget.low 5 0.50']);
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await events('remaining')).toEqual(['budget.exhausted 0.00']);
  });

  it('is one event, of the lowest threshold, if a batch reaches two and exhausts the budget', async () => {
    const { ad } = await addAccount(database.pool, { budget: '10.00', price: '0.50' });
    await chargeBatchTwice(database.pool, clicksOn(ad, 25));
    expect(await events('percent')).toEqual(['budget.low 5', 'budget.exhausted']);
  });

  it('counts from what remains after a top-up or an adjustment, and not from a credit', async () => {
    const { ad, advertiser } = await addAccount(database.pool, { budget: '10.00', price: '0.50' });
    const [first, ...clicks] = clicksOn(ad, 16);
    if (!first) throw new Error('Expected a click');
    await chargeBatchTwice(database.pool, [first, ...clicks]);
    expect(await events('percent')).toEqual(['budget.low 20']);
    await creditClick(database.pool, first.click.clickId);
    await chargeBatchTwice(database.pool, clicksOn(ad, 3));
    expect(await events()).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await events('percent', 'level')).toEqual(['budget.low 5 10.00']);
    await enter(advertiser.id, 'top_up', '9.50');
    await chargeBatchTwice(database.pool, clicksOn(ad, 15));
    expect(await events()).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await events('percent', 'level')).toEqual(['budget.low 20 10.00']);
    await enter(advertiser.id, 'adjustment', '-1.00');
    expect(await events()).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(ad, 2));
    expect(await events('percent', 'level')).toEqual(['budget.low 5 1.00', 'budget.exhausted']);
  });
});

describe('budget.exhausted and budget.available', () => {
  it('are sent when the cheapest active ad costs more than what remains, and when it does not', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.30' });
    const cheap = await addAdTo(database.pool, campaign, '0.20');
    await chargeBatchTwice(database.pool, clicksOn(ad, 3));
    expect(await events('percent', 'remaining')).toEqual(['budget.low 20 0.10', 'budget.exhausted  0.10']);
    await updateAd(database.pool, cheap.id, { priceMicros: parseAmount('0.10') });
    expect(await events('lowestPrice')).toEqual(['budget.available 0.10']);
    await updateAd(database.pool, cheap.id, { status: 'paused' });
    expect(await events('lowestPrice')).toEqual(['budget.exhausted 0.30']);
    await updateAd(database.pool, ad.id, { status: 'archived' });
    expect(await events()).toEqual([]);
    await updateAd(database.pool, cheap.id, { status: 'active' });
    expect(await events()).toEqual(['budget.available']);
    await updateCampaign(database.pool, campaign.id, { status: 'paused' });
    await setAdvertiserStatus(database.pool, advertiser.id, 'paused');
    expect(await events()).toEqual([]);
  });

  it('are sent after an adjustment and a top-up', async () => {
    const { advertiser } = await addAccount(database.pool, { budget: '1.00', price: '0.30' });
    await enter(advertiser.id, 'adjustment', '-0.80');
    expect(await events('remaining')).toEqual(['budget.exhausted 0.20']);
    await enter(advertiser.id, 'top_up', '0.05');
    expect(await events()).toEqual([]);
    await enter(advertiser.id, 'top_up', '0.05');
    expect(await events('remaining')).toEqual(['budget.available 0.30']);
  });

  it('are sent after a credit', async () => {
    const { ad } = await addAccount(database.pool, { budget: '0.30', price: '0.30' });
    const [click] = clicksOn(ad, 1);
    if (!click) throw new Error('Expected a click');
    await chargeBatchTwice(database.pool, [click]);
    expect(await events('percent')).toEqual(['budget.low 5', 'budget.exhausted']);
    await creditClick(database.pool, click.click.clickId);
    expect(await events('remaining')).toEqual(['budget.available 0.30']);
  });

  it('leave out the ads of an ended campaign', async () => {
    const { advertiser, campaign } = await addAccount(database.pool, { budget: '0.40', price: '0.10' });
    const dear = await addCampaign(database.pool, advertiser.id, 'dear');
    await addAdTo(database.pool, dear, '0.50');
    await updateCampaign(database.pool, campaign.id, { endsAt: new Date(Date.now() - 1_000) });
    expect(await events('lowestPrice')).toEqual(['campaign.ended', 'budget.exhausted 0.50']);
    await updateCampaign(database.pool, campaign.id, { endsAt: null });
    expect(await events('lowestPrice')).toEqual(['campaign.started', 'budget.available 0.10']);
  });
});

describe('campaign.cap_reached', () => {
  it('is sent when the rest of a cap pays for no active ad, and again after the cap was raised', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.30', cap: '1.00' });
    const cheap = await addAdTo(database.pool, campaign, '0.20');
    await chargeBatchTwice(database.pool, clicksOn(ad, 2));
    await chargeBatchTwice(database.pool, clicksOn(cheap, 1));
    expect(await events()).toEqual([]);
    await chargeBatchTwice(database.pool, clicksOn(cheap, 1));
    expect(await events('campaignId', 'cap', 'day', 'amount', 'spent')).toEqual([
      `campaign.cap_reached ${campaign.id} total  1.00 1.00`,
    ]);
    await chargeBatchTwice(database.pool, clicksOn(cheap, 1));
    await updateCampaign(database.pool, campaign.id, { capMicros: parseAmount('1.10') });
    expect(await events()).toEqual([]);
    await updateCampaign(database.pool, campaign.id, { capMicros: parseAmount('1.20') });
    await chargeBatchTwice(database.pool, clicksOn(cheap, 1));
    expect(await events('spent')).toEqual(['campaign.cap_reached 1.20']);
  });

  it('is sent for a daily cap with its day, and on the next day again', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.50', dailyCap: '1.00' });
    await chargeBatchTwice(database.pool, clicksOn(ad, 3));
    const { rows } = await database.pool.query<{ day: string }>(
      "select (now() at time zone 'UTC')::date::text as day",
    );
    const reached = `campaign.cap_reached daily ${rows[0]?.day}`;
    expect(await events('cap', 'day', 'amount', 'spent')).toEqual([`${reached} 1.00 1.00`]);
    await capDaily(database.pool, campaign, '1.20');
    expect(await events()).toEqual([]);
    await capDaily(database.pool, campaign, '1.50');
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    expect(await events('cap', 'day', 'amount')).toEqual([`${reached} 1.50`]);
    // As it is after midnight.
    await database.pool.query(
      'update campaign set daily_cap_reached_on = daily_cap_reached_on - 1 where id = $1',
      [campaign.id],
    );
    await updateCampaign(database.pool, campaign.id, { name: 'next day' });
    expect(await events('cap', 'day')).toEqual([reached]);
  });

  it('is not sent again by a transaction that began before midnight', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.50', dailyCap: '1.00' });
    await chargeBatchTwice(database.pool, clicksOn(ad, 2));
    expect(await events()).toEqual(['campaign.cap_reached']);
    await database.pool.query(
      'update campaign set daily_cap_reached_on = daily_cap_reached_on + 1 where id = $1',
      [campaign.id],
    );
    await chargeBatchTwice(database.pool, clicksOn(ad, 1));
    await updateCampaign(database.pool, campaign.id, { name: 'late' });
    expect(await events()).toEqual([]);
  });

  it('is not sent of a cap below the price before something is spent', async () => {
    const { campaign } = await addAccount(database.pool, { price: '0.50', cap: '0.40', dailyCap: '0.30' });
    await updateCampaign(database.pool, campaign.id, { name: 'small' });
    expect(await events()).toEqual([]);
  });
});

describe('the events of a transaction', () => {
  it('are gone after its rollback', async () => {
    const { ad } = await addAccount(database.pool, { budget: '1.00', price: '0.50' });
    await inTransaction(database.pool, async (connection) => {
      await settle(connection, clicksOn(ad, 2), { clickAgeMaxDays: 14 });
      return new RolledBack(undefined);
    });
    expect(await events()).toEqual([]);
    await chargeBatch(database.pool, clicksOn(ad, 2));
    expect(await events('percent')).toEqual(['budget.low 5', 'budget.exhausted']);
  });

  it('are written once when six processors charge the same and other clicks at once, in the order of the commits', async () => {
    const accounts = await Promise.all(
      [1, 2, 3].map(() => addAccount(database.pool, { budget: '10.00', price: '0.10', cap: '8.00' })),
    );
    const batches = Array.from({ length: 12 }, () => shuffle(accounts.flatMap(({ ad }) => clicksOn(ad, 10))));
    const deliveries = shuffle([...batches, ...batches]);
    const processors = Array.from({ length: 6 }, (_, index) =>
      deliveries.filter((_, at) => at % 6 === index),
    );
    await Promise.all(
      processors.map(async (own) => {
        for (const batch of own) await chargeBatch(database.pool, batch);
      }),
    );
    for (const { advertiser } of accounts) {
      const own = await takeEvents(database.pool, advertiser.id);
      expect(own.map(({ type }) => type)).toEqual(['budget.low', 'campaign.cap_reached']);
    }
  });
});
