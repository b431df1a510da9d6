import { afterEach, describe, expect, it } from 'vitest';
import { TollwayError } from '../../../common/errors.ts';
import { parseAmount } from '../../../common/money.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import { type AdChanges, addAd, listAds, updateAd } from '../../../ledger/accounts/ads.ts';
import { addAdvertiser, listAdvertisers, setAdvertiserStatus } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign, listCampaigns } from '../../../ledger/accounts/campaigns.ts';
import { readCatalogAd } from '../../../ledger/accounts/catalog-ads.ts';
import { chargeBatchTwice, expectBalanced } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord } from '../../support/records.ts';

const database = testDatabase();
const UNKNOWN_ID = 2_000_000_000;

afterEach(async () => {
  await expectBalanced(database.pool);
});

async function advertiserOf(id: number) {
  return (await listAdvertisers(database.pool)).find((advertiser) => advertiser.id === id);
}

describe('a budget entry', () => {
  it('is added once for each reference, also by concurrent calls', async () => {
    const { id } = await addAdvertiser(database.pool, 'A', 'EUR');
    const enter = () => addBudgetEntry(database.pool, id, 'top_up', parseAmount('10.00'), 'invoice 7');
    const answers = await Promise.all(Array.from({ length: 8 }, enter));
    expect(answers.filter(({ entered }) => entered)).toHaveLength(1);
    expect(new Set(answers.map(({ advertiser }) => advertiser.budgetMicros))).toEqual(new Set([10_000_000n]));
    expect(await advertiserOf(id)).toMatchObject({ budgetMicros: 10_000_000n, remainingMicros: 10_000_000n });
  });

  it('is refused if its reference has another amount or kind; other advertisers can use the reference', async () => {
    const { id } = await addAdvertiser(database.pool, 'A', 'EUR');
    const { id: other } = await addAdvertiser(database.pool, 'B', 'EUR');
    await addBudgetEntry(database.pool, id, 'top_up', 5n, 'r');
    const taken = { code: 'reference_taken' };
    await expect(addBudgetEntry(database.pool, id, 'top_up', 6n, 'r')).rejects.toMatchObject(taken);
    await expect(addBudgetEntry(database.pool, id, 'adjustment', 5n, 'r')).rejects.toMatchObject(taken);
    expect(await addBudgetEntry(database.pool, other, 'top_up', 6n, 'r')).toMatchObject({ entered: true });
    expect(await advertiserOf(id)).toMatchObject({ budgetMicros: 5n });
  });

  it('gets a new reference in each call without one', async () => {
    const { id } = await addAdvertiser(database.pool, 'A', 'EUR');
    await addBudgetEntry(database.pool, id, 'top_up', 5n);
    await addBudgetEntry(database.pool, id, 'top_up', 5n);
    expect(await advertiserOf(id)).toMatchObject({ budgetMicros: 10n });
  });

  it('cannot subtract more than the remaining budget', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.40' });
    await chargeBatchTwice(database.pool, [clickRecord({ ad })]);
    const takeAway = (amount: string) =>
      addBudgetEntry(database.pool, advertiser.id, 'adjustment', parseAmount(amount), amount);
    await expect(takeAway('-0.600001')).rejects.toMatchObject({ code: 'not_enough_budget' });
    expect(await takeAway('-0.60')).toMatchObject({ entered: true, advertiser: { remainingMicros: 0n } });
    const { rows } = await database.pool.query(
      'select reference from budget_entry where kind = $1 and advertiser_id = $2',
      ['adjustment', advertiser.id],
    );
    expect(rows).toEqual([{ reference: '-0.60' }]);
  });

  it('of 0 is refused with a TollwayError', async () => {
    const { id } = await addAdvertiser(database.pool, 'A', 'EUR');
    await expect(addBudgetEntry(database.pool, id, 'adjustment', 0n)).rejects.toBeInstanceOf(TollwayError);
  });
});

describe('the credit of a click', () => {
  it('refunds the charge once and does not change the row of the click', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { budget: '1.00', price: '0.40' });
    const record = clickRecord({ ad });
    await chargeBatchTwice(database.pool, [record]);
    const credits = await Promise.all(
      Array.from({ length: 6 }, () => creditClick(database.pool, record.click.clickId)),
    );
    expect(credits.filter(({ entered }) => entered)).toHaveLength(1);
    expect(credits[0]).toMatchObject({ amountMicros: 400_000n });
    expect(await advertiserOf(advertiser.id)).toMatchObject({
      remainingMicros: 1_000_000n,
      spentMicros: 400_000n,
    });
    expect(await chargeBatchTwice(database.pool, [record])).toEqual(['duplicate']);
  });

  it('is refused for an unknown click and for one that was not charged', async () => {
    const { ad } = await addAccount(database.pool);
    const { ad: poor } = await addAccount(database.pool, { budget: '0' });
    const robot = clickRecord({ ad, invalid: 'bot' });
    const unpaid = clickRecord({ ad: poor });
    await chargeBatchTwice(database.pool, [robot, unpaid]);
    await expect(creditClick(database.pool, uuidV7())).rejects.toMatchObject({ code: 'unknown_click' });
    for (const { click } of [robot, unpaid]) {
      await expect(creditClick(database.pool, click.clickId)).rejects.toMatchObject({ code: 'not_charged' });
    }
  });
});

describe('accounts', () => {
  it('are listed with their current values', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, { budget: '2.00', cap: '1.00' });
    const changed = await updateAd(database.pool, ad.id, {
      urlTemplate: 'https://b.example/',
      status: 'paused',
    });
    expect(changed).toEqual({ ...ad, urlTemplate: 'https://b.example/', status: 'paused' });
    const paused = await setAdvertiserStatus(database.pool, advertiser.id, 'paused');
    expect((await listAds(database.pool)).at(-1)).toEqual(changed);
    expect((await listCampaigns(database.pool)).at(-1)).toEqual(campaign);
    expect((await listAdvertisers(database.pool)).at(-1)).toEqual(paused);
    expect(paused).toEqual({
      ...advertiser,
      status: 'paused',
      budgetMicros: 2_000_000n,
      remainingMicros: 2_000_000n,
    });
  });

  it('have a list of passed parameters that names none of the destination', async () => {
    const { campaign } = await addAccount(database.pool);
    const refused = { code: 'bad_pass_list' };
    const url = 'https://a.example/?click={click_id}';
    await expect(addAd(database.pool, campaign.id, 1n, url, ['click'])).rejects.toMatchObject(refused);
    const { id } = await addAd(database.pool, campaign.id, 1n, url, ['utm_*', 'sub1']);
    const change = (changes: AdChanges) => updateAd(database.pool, id, changes);
    await expect(change({ passParameters: ['click'] })).rejects.toMatchObject(refused);
    await expect(change({ urlTemplate: 'https://a.example/?sub1=a' })).rejects.toMatchObject(refused);
    expect(await change({ priceMicros: 2n })).toMatchObject({
      urlTemplate: url,
      passParameters: ['utm_*', 'sub1'],
    });
    const both = { urlTemplate: 'https://a.example/?sub1=a&utm_source=b', passParameters: ['utm_*'] };
    expect(await change(both)).toMatchObject(both);
    expect(await readCatalogAd(database.pool, id)).toMatchObject(both);
    expect(await change({ passParameters: [] })).toMatchObject({ passParameters: [] });
  });

  it('have ads with and without a name, which can be changed and removed', async () => {
    const { campaign, ad } = await addAccount(database.pool);
    expect(ad.name).toBeNull();
    const add = (name: string) => addAd(database.pool, campaign.id, 1n, 'https://a.example/', [], name);
    const named = await add('  Banner 300x250, blue ');
    expect(named).toMatchObject({ name: 'Banner 300x250, blue' });
    // A name is not unique.
    expect(await add('Banner 300x250, blue')).toMatchObject({ name: named.name });
    const change = (changes: AdChanges) => updateAd(database.pool, named.id, changes);
    expect(await change({ priceMicros: 2n })).toEqual({ ...named, priceMicros: 2n });
    expect(await change({ name: 'Banner 300x250, red' })).toMatchObject({ name: 'Banner 300x250, red' });
    expect(await change({ name: null })).toMatchObject({ name: null, priceMicros: 2n });
    for (const name of ['', 'a'.repeat(201), 'a\u001b[31m']) {
      await expect(add(name)).rejects.toMatchObject({ code: 'bad_name' });
      await expect(change({ name })).rejects.toMatchObject({ code: 'bad_name' });
    }
  });

  it('that do not exist are refused with an error code', async () => {
    const unknown = { code: 'unknown_advertiser' };
    await expect(addBudgetEntry(database.pool, UNKNOWN_ID, 'top_up', 1n)).rejects.toMatchObject(unknown);
    await expect(addCampaign(database.pool, UNKNOWN_ID, 'c')).rejects.toMatchObject(unknown);
    await expect(setAdvertiserStatus(database.pool, UNKNOWN_ID, 'paused')).rejects.toMatchObject(unknown);
    await expect(addAd(database.pool, UNKNOWN_ID, 1n, 'x')).rejects.toMatchObject({
      code: 'unknown_campaign',
    });
    await expect(updateAd(database.pool, UNKNOWN_ID, { priceMicros: 1n })).rejects.toMatchObject({
      code: 'unknown_ad',
    });
  });
});
