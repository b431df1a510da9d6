import { beforeAll, describe, expect, it } from 'vitest';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { GONE, moveToTimeZone } from '../support/time-zones.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

describe('while the server does not know the time zone of an advertiser, `bad_time_zone` answers', () => {
  let account: Account;
  let click: ReturnType<typeof clickRecord>;
  beforeAll(async () => {
    account = await addAccount(database.pool, { dailyCap: '10.00' });
    click = clickRecord({ ad: account.ad });
    await chargeBatch(database.pool, [click]);
    await moveToTimeZone(database.pool, account.advertiser.id, GONE);
  });

  const create = (settings: object) => () =>
    api.send('POST', '/v1/campaigns', {
      body: { advertiserId: account.advertiser.id, name: 'New', ...settings },
    });
  const put = (settings: object) => () =>
    api.send('PUT', `/v1/advertisers/${account.advertiser.id}/campaigns/by-external-id/new`, {
      body: { name: 'New', ...settings },
    });
  const change = (settings: object) => () =>
    api.send('PATCH', `/v1/campaigns/${account.campaign.id}`, { body: settings });

  it.each([
    ['a new campaign with a daily cap', create({ dailyCap: '5.00' })],
    ['a new campaign that starts on a day', create({ startsAt: '2030-01-01' })],
    ['a campaign put with a daily cap', put({ dailyCap: '5.00' })],
    ['a campaign put with a day', put({ endsAt: '2030-01-01' })],
    ['another daily cap', change({ dailyCap: '5.00' })],
    ['no daily cap any more', change({ dailyCap: null })],
    ['an end on a day', change({ endsAt: '2030-01-01' })],
    [
      'a credit of many clicks',
      () => api.send('POST', '/v1/credits', { body: { clickIds: [click.click.clickId] } }),
    ],
    ['a credit', () => api.send('POST', `/v1/clicks/${click.click.clickId}/credit`)],
  ])('%s', async (_, send) => {
    expect(await send()).toMatchObject({
      status: 400,
      body: { code: 'bad_time_zone', detail: expect.stringContaining('the database server knows') },
    });
  });

  it('nothing else that is changed', async () => {
    expect(await create({})()).toMatchObject({ status: 201 });
    expect(await put({ startsAt: '2030-01-01T00:00:00Z' })()).toMatchObject({ status: 201 });
    expect(await change({ name: 'Renamed', dailyCap: '10.00' })()).toMatchObject({
      status: 200,
      body: { dailyCap: '10.00', spentToday: null },
    });
  });
});
