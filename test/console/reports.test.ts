import { expect, it } from 'vitest';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';

const DAY = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
const database = testDatabase();
const api = testApi(database);

it('a report has the clicks of one ad', async () => {
  const [account, other] = [await addAccount(database.pool), await addAccount(database.pool)];
  const second = await addAdTo(database.pool, account.campaign, '0.50');
  await chargeBatch(
    database.pool,
    [account.ad, account.ad, second, other.ad].map((ad) => clickRecord({ ad })),
  );
  const rowsOf = async (query: string) =>
    (await api.send('GET', `/v1/reports?since=${DAY}&by=campaign&${query}`)).body.rows;
  expect(await rowsOf(`adId=${second.id}`)).toMatchObject([{ clicks: 1, charged: '0.50' }]);
  expect(await rowsOf(`adId=${account.ad.id}`)).toMatchObject([{ clicks: 2, charged: '0.50' }]);
  expect(await rowsOf(`adId=${second.id}&campaignId=${account.campaign.id}`)).toHaveLength(1);
  expect(await rowsOf(`adId=${second.id}&advertiserId=${other.advertiser.id}`)).toEqual([]);
});
