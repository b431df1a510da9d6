import { beforeAll, describe, expect, it } from 'vitest';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

let advertiserId = 0;
let campaignId = 0;
beforeAll(async () => {
  const { advertiser, campaign, ad } = await addAccount(database.pool, { budget: '10.00', cap: '5.00' });
  [advertiserId, campaignId] = [advertiser.id, campaign.id];
  await api.send('PATCH', `/v1/campaigns/${campaignId}`, { body: { dailyCap: '4.00' } });
  expect(await chargeBatch(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
  await api.send('POST', '/v1/campaigns', { body: { advertiserId, name: 'One', externalId: 'taken' } });
  await api.send('POST', `/v1/advertisers/${advertiserId}/budget-entries`, {
    body: { kind: 'top_up', amount: '1.00', reference: 'once' },
  });
});

const AD = { campaignId: 999_999, price: '1.00', urlTemplate: 'https://example.com/' };

type Case = readonly [
  code: string,
  field: string,
  method: 'POST' | 'PATCH',
  path: () => string,
  body: object,
];

const entries = () => `/v1/advertisers/${advertiserId}/budget-entries`;
const campaign = () => `/v1/campaigns/${campaignId}`;

describe('an error of the ledger names the value of the body', () => {
  it.each<Case>([
    ['bad_url', 'url', 'POST', () => '/v1/webhooks', { url: 'http://example.com/' }],
    ['reference_taken', 'reference', 'POST', entries, { kind: 'top_up', amount: '2.00', reference: 'once' }],
    ['not_enough_budget', 'amount', 'POST', entries, { kind: 'adjustment', amount: '-99.00' }],
    ['cap_below_spent', 'cap', 'PATCH', campaign, { cap: '0.01', dailyCap: '3.00' }],
    ['cap_below_spent', 'dailyCap', 'PATCH', campaign, { cap: '3.00', dailyCap: '0.01' }],
    ['external_id_taken', 'externalId', 'PATCH', campaign, { externalId: 'taken' }],
    ['unknown_campaign', 'campaignId', 'POST', () => '/v1/ads', AD],
    [
      'unknown_advertiser',
      'advertiserIds',
      'POST',
      () => '/v1/keys',
      { name: 'K', role: 'viewer', advertiserIds: [999_999] },
    ],
  ])('%s: /%s', async (code, field, method, path, body) => {
    const { body: problem } = await api.send(method, path(), { body });
    expect(problem).toMatchObject({ code, errors: [{ pointer: `/${field}`, detail: problem.detail }] });
  });

  it('and nothing if it is about the path', async () => {
    const { body } = await api.send('PATCH', '/v1/campaigns/999999', { body: { name: 'New' } });
    expect(body).toMatchObject({ code: 'unknown_campaign' });
    expect(body).not.toHaveProperty('errors');
  });
});
