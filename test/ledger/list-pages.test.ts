import { beforeAll, describe, expect, it } from 'vitest';
import { listAds } from '../../ledger/accounts/ads.ts';
import { addAdvertiser, listAdvertisers } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, listBudgetEntries } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign, listCampaigns } from '../../ledger/accounts/campaigns.ts';
import { insertDeadLetters, listDeadLetters } from '../../ledger/charge/dead-letters.ts';
import type { Page } from '../../ledger/list-filter.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { clickRecord, unreadableRecord } from '../support/records.ts';

const database = testDatabase();
let accounts: readonly [Account, Account, Account];

beforeAll(async () => {
  const add = () => addAccount(database.pool, { dailyCap: '10.00' });
  accounts = [await add(), await add(), await add()];
});

const ids = <Id>(rows: readonly { id: Id }[]) => rows.map(({ id }) => id);

/** Reads a list in pages of two rows. */
async function inPages<Id extends number | bigint>(
  list: (page: Page<Id>) => Promise<readonly { readonly id: Id }[]>,
): Promise<Id[][]> {
  const pages: Id[][] = [];
  for (;;) {
    const after = pages.at(-1)?.at(-1);
    const page = ids(await list(after === undefined ? { limit: 2 } : { limit: 2, after }));
    if (page.length === 0) return pages;
    pages.push(page);
  }
}

describe('pages', () => {
  it('of advertisers, campaigns and ads have each row once, in the order of the ids', async () => {
    for (const [list, key] of [
      [listAdvertisers, 'advertiser'],
      [listCampaigns, 'campaign'],
      [listAds, 'ad'],
    ] as const) {
      const [first, second, third] = accounts.map((account) => account[key].id);
      const pages = await inPages<number>((page) => list(database.pool, page));
      expect(pages, key).toEqual([[first, second], [third]]);
    }
  });

  it('of budget entries belong to one advertiser', async () => {
    const { id } = await addAdvertiser(database.pool, 'Entries', 'USD');
    for (const reference of ['a', 'b', 'c'])
      await addBudgetEntry(database.pool, id, 'top_up', 1_000_000n, reference);
    const pages = await inPages<bigint>((page) => listBudgetEntries(database.pool, id, page));
    expect(pages.map((page) => page.length)).toEqual([2, 1]);
    expect(pages.flat()).toEqual(ids(await listBudgetEntries(database.pool, id)));
    // No entry follows the last one of an advertiser that exists.
    expect(await listBudgetEntries(database.pool, id, { after: pages.flat().at(-1) ?? 0n })).toEqual([]);
  });

  it('of dead letters leave out discarded ones', async () => {
    const connection = await database.pool.connect();
    try {
      await insertDeadLetters(
        connection,
        ['1', '2', '3'].map((text) => ({
          record: unreadableRecord(Buffer.from(text)),
          reason: 'malformed' as const,
          detail: text,
        })),
      );
      await connection.query(`update dead_letter set raw = null, discarded_at = now() where detail = '2'`);
    } finally {
      connection.release();
    }
    const letters = await listDeadLetters(database.pool);
    expect(letters.map(({ detail }) => detail)).toEqual(['1', '3']);
    expect(await inPages<bigint>((page) => listDeadLetters(database.pool, page))).toEqual([ids(letters)]);
  });

  it('of campaigns have what the present day has spent', async () => {
    const [, { ad, campaign }] = accounts;
    expect(await chargeBatch(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
    const spent = (await listCampaigns(database.pool, { limit: 2 })).map(({ id, spentTodayMicros }) => [
      id,
      spentTodayMicros,
    ]);
    expect(spent).toEqual([
      [accounts[0].campaign.id, 0n],
      [campaign.id, 250_000n],
    ]);
  });
});

describe('the advertisers of a key', () => {
  it('are all that the lists show', async () => {
    const [first, second] = accounts;
    const advertiserIds = [second.advertiser.id];
    expect(ids(await listAdvertisers(database.pool, { advertiserIds }))).toEqual(advertiserIds);
    expect(ids(await listCampaigns(database.pool, { advertiserIds }))).toEqual([second.campaign.id]);
    expect(ids(await listAds(database.pool, { advertiserIds }))).toEqual([second.ad.id]);
    expect(
      await listAds(database.pool, { advertiserIds: [second.advertiser.id, first.advertiser.id] }),
    ).toHaveLength(2);
  });

  it.each(['advertiser', 'campaign'] as const)(
    'get the same error for a foreign %s as for an unknown one',
    async (key) => {
      const [first, second] = accounts;
      const advertiserIds = [second.advertiser.id];
      const error = async (id: number) => {
        const filter = key === 'advertiser' ? { advertiserId: id } : { campaignId: id };
        const refused = await listAds(database.pool, { ...filter, advertiserIds }).catch((caught) => caught);
        return [refused.code, refused.message.replace(String(id), '<id>')];
      };
      expect(await error(first[key].id)).toEqual(await error(2_000_000_000));
      expect(await error(first[key].id)).toContain(`unknown_${key}`);
    },
  );
});

describe('a search', () => {
  it('finds a part of a name, in upper or lower case, with characters of patterns as they are', async () => {
    const { id } = await addAdvertiser(database.pool, 'Äpfel & 100% Birnen', 'EUR');
    const campaign = await addCampaign(database.pool, id, 'Herbst_2026');
    const advertisers = async (search: string) => ids(await listAdvertisers(database.pool, { search }));
    expect(await advertisers('Äpfel & 100% bIRNEN')).toEqual([id]);
    expect(await advertisers('100%')).toEqual([id]);
    expect(await advertisers('1%0')).toEqual([]);
    expect(ids(await listCampaigns(database.pool, { search: 'herbst_' }))).toEqual([campaign.id]);
    expect(await listCampaigns(database.pool, { search: 'herbst.2026' })).toEqual([]);
    const ad = await addAdTo(database.pool, campaign, '0.25', 'Banner_300 rot');
    await addAdTo(database.pool, campaign);
    for (const filter of [{}, { campaignId: campaign.id }, { advertiserIds: [id] }])
      expect(ids(await listAds(database.pool, { ...filter, search: 'bANNER_' }))).toEqual([ad.id]);
    for (const search of ['banner.300', 'banner%300', 'banner__300', 'banner\\_300'])
      expect(await listAds(database.pool, { search })).toEqual([]);
  });
});

describe('an archived campaign', () => {
  it('takes its ads with it into the list of archived ones', async () => {
    const [, , { advertiser, campaign }] = accounts;
    const more = await addAdTo(database.pool, campaign);
    await database.pool.query(`update campaign set status = 'archived' where id = $1`, [campaign.id]);
    const filter = { advertiserId: advertiser.id, status: 'archived' as const, limit: 1 };
    const pages = await inPages<number>((page) => listAds(database.pool, { ...filter, ...page, limit: 1 }));
    expect(pages).toEqual([[accounts[2].ad.id], [more.id]]);
    await database.pool.query(`update campaign set status = 'active' where id = $1`, [campaign.id]);
  });
});
