import { expect, it } from 'vitest';
import { addSamples } from '../../../cli/samples.ts';
import { listAds, updateAd } from '../../../ledger/accounts/ads.ts';
import { setAdvertiserStatus } from '../../../ledger/accounts/advertisers.ts';
import {
  hasActiveSamples,
  listActiveSampleAds,
  readSampleAdvertiserIds,
} from '../../../ledger/accounts/sample-advertisers.ts';
import { addAccount, testDatabase } from '../../support/database.ts';

const database = testDatabase();

it('Sample advertisers are those with ads of the sample pages, whatever their names', async () => {
  const { pool } = database;
  expect(await hasActiveSamples(pool)).toBe(false);
  await addSamples(pool);
  const { advertiser } = await addAccount(pool);
  const samples = await listActiveSampleAds(pool);
  expect(samples.map(({ advertiserName }) => advertiserName)).toEqual([
    'Sample Coffee',
    'Sample Shoes',
    'Sample Travel',
  ]);
  expect((await listAds(pool)).map(({ name }) => name)).toEqual([
    'Banner 300x250, coffee beans',
    'Banner 728x90, running shoes',
    'Newsletter, train tickets',
    null,
  ]);
  await pool.query("update advertiser set name = 'Renamed' where id = 1");
  await pool.query("update advertiser set name = 'Sample Coffee' where id = $1", [advertiser.id]);
  expect(await readSampleAdvertiserIds(pool)).toEqual(new Set([1, 2, 3]));
});

it('Active sample ads have an active advertiser and campaign and lead to a sample page', async () => {
  const { pool } = database;
  const ids = async () => (await listActiveSampleAds(pool)).map(({ advertiserId }) => advertiserId);
  await setAdvertiserStatus(pool, 1, 'paused');
  expect(await ids()).toEqual([2, 3]);
  await pool.query("update campaign set status = 'archived' where advertiser_id = 2");
  expect(await ids()).toEqual([3]);
  await updateAd(pool, 3, { urlTemplate: 'https://example.com/sample/travel' });
  expect(await ids()).toEqual([]);
  expect(await hasActiveSamples(pool)).toBe(false);
  expect(await readSampleAdvertiserIds(pool)).toEqual(new Set([1, 2]));
});
