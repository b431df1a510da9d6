import { beforeAll, describe, expect, it } from 'vitest';
import type { Connection } from '../../common/postgres/postgres.ts';
import { addAd, listAds, updateAd } from '../../ledger/accounts/ads.ts';
import {
  addAdvertiser,
  listAdvertisers,
  renameAdvertiser,
  setAdvertiserStatus,
} from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick, listBudgetEntries } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign, listCampaigns, updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { changeAs } from '../../ledger/actor.ts';
import { discardDeadLetter, listDeadLetters } from '../../ledger/charge/dead-letters.ts';
import { correctSpool, listSpoolCorrections } from '../../ledger/spools/corrections.ts';
import { redrive } from '../../processor/charge/redrive.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

const database = testDatabase();
const ACTOR = { type: 'system', component: 'test' } as const;

let account: Account;
/** A charged click and its spool. */
let clickId: string;
let spoolId: string;
/** Records that were rejected because their ad is unknown: of the next ad that is created, and of none. */
let letters: bigint[];

beforeAll(async () => {
  account = await addAccount(database.pool, { budget: '10.00', price: '0.25' });
  const charged = clickRecord({ ad: account.ad });
  const unknown = [account.ad.id + 1, account.ad.id + 900].map((id) =>
    clickRecord({ ad: { ...account.ad, id } }),
  );
  await chargeBatch(database.pool, [charged, ...unknown]);
  clickId = charged.click.clickId;
  spoolId = charged.from?.spoolId ?? '';
  const byAd = (await listDeadLetters(database.pool, { limit: 10 })).sort(
    (a, b) => (a.adId ?? 0) - (b.adId ?? 0),
  );
  letters = byAd.map(({ id }) => id);
});

async function everyChange(connection: Connection): Promise<void> {
  const { campaign, ad } = account;
  const [redriven = 0n, rejected = 0n] = letters;
  // The redriven record belongs to this ad.
  expect((await addAd(connection, campaign.id, 100n, 'https://example.com/')).id).toBe(ad.id + 1);
  const { id } = await addAdvertiser(connection, 'Joined', 'USD');
  await addBudgetEntry(connection, id, 'top_up', 5_000_000n);
  await renameAdvertiser(connection, id, 'Joined again');
  await setAdvertiserStatus(connection, id, 'paused');
  const added = await addCampaign(connection, id, 'Joined', { dailyCapMicros: 1_000_000n });
  await addAd(connection, added.id, 100n, 'https://example.com/');
  await updateCampaign(connection, campaign.id, { capMicros: 9_000_000n });
  await updateAd(connection, ad.id, { priceMicros: 300_000n });
  await creditClick(connection, clickId);
  await correctSpool(connection, spoolId, 7, 'test');
  expect(await redrive(connection, rejected)).toMatchObject({ outcome: 'rejected' });
  expect(await redrive(connection, redriven)).toMatchObject({ outcome: 'charged' });
  await discardDeadLetter(connection, rejected);
}

/** What a pool sees of everything that `everyChange` changes. */
async function stateOf() {
  const { pool } = database;
  return {
    advertisers: await listAdvertisers(pool),
    entries: await listBudgetEntries(pool, account.advertiser.id),
    campaigns: await listCampaigns(pool),
    ads: await listAds(pool),
    letters: await listDeadLetters(pool, { limit: 10 }),
    corrections: await listSpoolCorrections(pool),
  };
}

describe('every change of the ledger, in the transaction of its caller', () => {
  it('is undone when the transaction rolls back', async () => {
    const before = await stateOf();
    const failing = changeAs(database.pool, ACTOR, async (connection) => {
      await everyChange(connection);
      expect(await stateOf()).toEqual(before);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow(/^no$/);
    expect(await stateOf()).toEqual(before);
  });
});
