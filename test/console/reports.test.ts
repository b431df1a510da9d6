import { expect, it } from 'vitest';
import { readReport } from '../../ledger/reports/report.ts';
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

it('a report of more than 100 000 rows is refused, and has no limit on the command line', async () => {
  const { ad, advertiser, campaign } = await addAccount(database.pool);
  const add = (from: number, to: number) =>
    database.pool.query(
      `insert into click_rollup (quarter, advertiser_id, campaign_id, ad_id, publisher, outcome, reason, clicks, charged_micros, credited_micros)
       select '2026-01-31', $1, $2, $3, 'site-' || n, 'charged', '', 1, 0, 0 from generate_series($4::integer, $5) n`,
      [advertiser.id, campaign.id, ad.id, from, to],
    );
  const url = `/v1/reports?since=2026-01-31T00:00:00Z&until=2026-01-31T01:00:00Z&by=publisher&adId=${ad.id}`;
  await add(1, 100_000);
  const largest = await api.app.inject({ url, headers: { authorization: `Bearer ${api.adminKey}` } });
  expect(largest.json().rows).toHaveLength(100_000);
  await add(100_001, 100_001);
  expect(await api.send('GET', url)).toMatchObject({
    status: 400,
    body: { code: 'too_many_rows', detail: expect.stringContaining('at most 100000 rows') },
  });
  const [since, until] = [new Date('2026-01-31T00:00:00Z'), new Date('2026-01-31T01:00:00Z')];
  const { rows } = await readReport(database.pool, { since, until, by: ['publisher'], adId: ad.id });
  expect(rows).toHaveLength(100_001);
});

it('a report names no time zone of an advertiser that its key may not see, though the server lacks it', async () => {
  const [{ ad, advertiser }, lacks] = [await addAccount(database.pool), await addAccount(database.pool)];
  await chargeBatch(
    database.pool,
    [ad, lacks.ad].map((of) => clickRecord({ ad: of })),
  );
  await database.pool.query('alter table advertiser disable trigger check_time_zone');
  await database.pool.query(`update advertiser set time_zone = 'US/Pacific-New' where id = $1`, [
    lacks.advertiser.id,
  ]);
  const key = await api.addKey({ role: 'viewer', advertiserIds: [advertiser.id] });
  expect(await api.send('GET', `/v1/reports?since=${DAY}`, { key })).toMatchObject({ status: 200 });
  const statement = `/v1/advertisers/${advertiser.id}/statements/${DAY.slice(0, 7)}`;
  expect(await api.send('GET', statement, { key })).toMatchObject({ status: 200 });
  expect(await api.send('GET', '/v1/campaigns')).toMatchObject({ status: 200 });
});
