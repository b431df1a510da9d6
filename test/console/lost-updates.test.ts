import { beforeAll, describe, expect, it } from 'vitest';
import { untilWaitingForLock } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

/** The paths of one of each resource that can be changed, and the row that a change of it locks. */
const paths = new Map<string, { url: string; lock: string }>();
beforeAll(async () => {
  const { advertiser, campaign, ad } = await addAccount(database.pool);
  const own = `select from advertiser where id = ${advertiser.id} for no key update`;
  const byExternalId = `/v1/advertisers/${advertiser.id}/campaigns/by-external-id/crm-1`;
  await api.send('PUT', byExternalId, { body: { name: 'New' } });
  const webhook = await api.send('POST', '/v1/webhooks', { body: { url: 'https://example.com/' } });
  const { id } = webhook.body;
  paths.set('advertiser', { url: `/v1/advertisers/${advertiser.id}`, lock: own });
  paths.set('campaign', { url: `/v1/campaigns/${campaign.id}`, lock: own });
  paths.set('campaign by its external id', { url: byExternalId, lock: own });
  paths.set('ad', { url: `/v1/ads/${ad.id}`, lock: own });
  const lock = `select from webhook where id = ${id} for no key update`;
  paths.set('webhook', { url: `/v1/webhooks/${id}`, lock });
});

/** The ETag of a resource. A campaign has no GET by its external id, so it is the one of a PUT that changes nothing. */
async function etagAt(url: string): Promise<string> {
  const isPut = url.includes('/by-external-id/');
  const answer = isPut ? await api.send('PUT', url, { body: { name: 'New' } }) : await api.send('GET', url);
  expect(answer.status).toBe(200);
  return String(answer.headers.etag);
}

describe('Two changes at the same time with the same If-Match', () => {
  it.each([
    ['advertiser', 'PATCH', { name: 'First' }, { status: 'paused' }],
    ['campaign', 'PATCH', { name: 'First' }, { status: 'paused' }],
    ['campaign by its external id', 'PUT', { name: 'First' }, { name: 'Second' }],
    ['ad', 'PATCH', { name: 'First' }, { price: '0.50' }],
    ['webhook', 'PATCH', { url: 'https://example.com/first' }, { status: 'paused' }],
  ] as const)('of one %s: one is made, and the other is refused', async (resource, method, first, second) => {
    const { url = '', lock = '' } = paths.get(resource) ?? {};
    const headers = { 'if-match': await etagAt(url) };
    const holder = await database.pool.connect();
    try {
      await holder.query('begin');
      await holder.query(lock);
      // Both have read the ETag that they compare, or read it after the lock: the second must see the change of the first.
      const changes = [first, second].map((body) => api.send(method, url, { headers, body }));
      await untilWaitingForLock(database.pool, 2);
      await holder.query('commit');
      const statuses = (await Promise.all(changes)).map(({ status }) => status);
      expect(statuses.sort()).toEqual([200, 412]);
    } finally {
      holder.release(true);
    }
  });
});
