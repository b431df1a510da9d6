import { afterEach, describe, expect, it } from 'vitest';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { readCampaignCaps } from '../../../ledger/accounts/campaign-caps.ts';
import { addCampaign, updateCampaign } from '../../../ledger/accounts/campaigns.ts';
import { readAdvertiserNumbers } from '../../../ledger/operations/advertiser-numbers.ts';
import { countDaysAhead } from '../../../ledger/partitions.ts';
import { rebuildRollup, rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatchTwice, expectBalanced } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord } from '../../support/records.ts';

const database = testDatabase();

afterEach(async () => {
  await expectBalanced(database.pool);
});

const numbersOf = async (id: number) =>
  (await readAdvertiserNumbers(database.pool)).find((numbers) => numbers.id === id);

describe('the clicks of an advertiser', () => {
  it('are those of the ledger by outcome, once each, whatever is credited or rebuilt', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '0.50', price: '0.25' });
    expect(await numbersOf(advertiser.id)).toMatchObject({ charged: 0, overBudget: 0, invalid: 0 });
    const clicks = [1, 2, 3].map(() => clickRecord({ ad }));
    await chargeBatchTwice(database.pool, [...clicks, clickRecord({ ad, invalid: 'bot' })]);
    await rollUp(database.pool);
    const expected = { charged: 2, overBudget: 1, invalid: 1, isExhausted: true, remainingMicros: 0n };
    expect(await numbersOf(advertiser.id)).toMatchObject(expected);
    await creditClick(database.pool, clicks[0]?.click.clickId ?? '');
    await rebuildRollup(database.pool);
    await chargeBatchTwice(database.pool, [clickRecord({ ad })]);
    await rollUp(database.pool);
    expect(await numbersOf(advertiser.id)).toMatchObject({ ...expected, charged: 3 });
  });

  it('are counted for a row of the rollup that a credit made', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    const first = clickRecord({ ad });
    await chargeBatchTwice(database.pool, [first]);
    // Before the rollup has the click, the credit adds a row without clicks.
    await creditClick(database.pool, first.click.clickId);
    await rollUp(database.pool);
    expect(await numbersOf(advertiser.id)).toMatchObject({ charged: 1 });
  });
});

it('advertisers are in the order of their spend, the currencies in turn', async () => {
  const before = new Set((await readAdvertiserNumbers(database.pool)).map(({ id }) => id));
  const spends = [
    ['CHF', 30n],
    ['JPY', 9_000n],
    ['JPY', 8_000n],
    ['CHF', 20n],
    ['CHF', 10n],
  ] as const;
  const ids: number[] = [];
  for (const [currency, spent] of spends) {
    const { id } = await addAdvertiser(database.pool, `${currency} ${spent}`, currency, 'UTC');
    await addBudgetEntry(database.pool, id, 'top_up', 10_000n);
    ids.push(id);
  }
  for (const [index, [, spent]] of spends.entries())
    await database.pool.query('update advertiser set spent_micros = $2 where id = $1', [ids[index], spent]);
  const found = (await readAdvertiserNumbers(database.pool)).filter(({ id }) => !before.has(id));
  expect(found.map(({ name }) => name)).toEqual(['CHF 30', 'JPY 9000', 'CHF 20', 'JPY 8000', 'CHF 10']);
  await database.pool.query('update advertiser set spent_micros = 0 where id = any($1)', [ids]);
});

it('caps of campaigns have their amount and what of it is spent', async () => {
  const { advertiser, ad, campaign } = await addAccount(database.pool, { price: '0.25' });
  const caps = { capMicros: 10_000_000n, dailyCapMicros: 2_000_000n };
  const read = (limit = 10) => readCampaignCaps(database.pool, [advertiser.id], limit);
  expect(await read()).toEqual([]);
  await updateCampaign(database.pool, campaign.id, caps);
  await chargeBatchTwice(database.pool, [clickRecord({ ad }), clickRecord({ ad })]);
  const day = await addCampaign(database.pool, advertiser.id, 'Day', { dailyCapMicros: 1_000_000n });
  expect(await read()).toEqual([
    expect.objectContaining({ campaignId: day.id, total: null, day: { amount: 1, spent: 0 }, pace: null }),
    expect.objectContaining({
      ...{ campaignId: campaign.id, advertiserId: advertiser.id, status: 'active', currency: 'USD' },
      ...{ total: { amount: 10, spent: 0.5 }, day: { amount: 2, spent: 0.5 } },
    }),
  ]);
  expect((await read(1)).map(({ campaignId }) => campaignId)).toEqual([day.id]);
  expect(await readCampaignCaps(database.pool, [], 10)).toEqual([]);
  await updateCampaign(database.pool, day.id, { status: 'archived' });
  expect((await read()).map(({ campaignId }) => campaignId)).toEqual([campaign.id]);
});

it('the days ahead are those that every table of the ledger has a partition for', async () => {
  expect(await countDaysAhead(database.pool)).toBe(7);
  const { rows } = await database.pool.query<{ last: number }>(
    `select drop_partition('ledger', (now() at time zone 'UTC')::date + 7),
       drop_partition('spent_nonce', (now() at time zone 'UTC')::date + 7),
       (date_trunc('month', now() at time zone 'UTC' + interval '7 days')::date - 1) - (now() at time zone 'UTC')::date as last`,
  );
  // The days after today that the months before have; less than 0 if today is in the month that was dropped.
  expect(await countDaysAhead(database.pool)).toBe(Math.min(6, rows[0]?.last ?? 0));
});
