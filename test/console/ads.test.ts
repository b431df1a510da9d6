import { beforeAll, describe, expect, it } from 'vitest';
import { type Account, addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

let account: Account;
beforeAll(async () => {
  account = await addAccount(database.pool);
});

const NEW = {
  name: 'Banner 300x250, blue',
  price: '0.25',
  urlTemplate: 'https://example.com/?click={click_id}',
  passParameters: ['utm_*', 'gclid'],
};
const create = (body: object = NEW) =>
  api.send('POST', '/v1/ads', { body: { campaignId: account.campaign.id, ...body } });

describe('POST /v1/ads', () => {
  it('adds an ad to a campaign', async () => {
    const answer = await create();
    expect(answer).toMatchObject({
      status: 201,
      body: {
        ...{ ...NEW, status: 'active', currency: 'USD', campaignId: account.campaign.id },
        ...{ campaignName: 'Test campaign', advertiserName: 'Test advertiser' },
      },
    });
    const got = await api.send('GET', String(answer.headers.location));
    expect(got.body).toEqual(answer.body);
    expect(got.headers.etag).toBe(answer.headers.etag);
  });

  it('adds ads without a name', async () => {
    const { name: _, ...unnamed } = NEW;
    expect(await create(unnamed)).toMatchObject({ status: 201, body: { name: null } });
    expect(await create({ ...NEW, name: null })).toMatchObject({ status: 201, body: { name: null } });
  });

  it.each([
    [{ name: '' }, '/name', 'Expected a name of 1–200 printable characters'],
    [{ name: 'a\u202eb' }, '/name', 'Expected a name of 1–200 printable characters'],
    [{ name: 7 }, '/name', 'Expected a string, got 7'],
    [{ price: 0.25 }, '/price', 'Expected a string, got 0.25'],
    [{ price: '0' }, '/price', 'Expected an amount above 0'],
    [{ price: '1000000000.000001' }, '/price', 'at most 1000000000'],
    [{ urlTemplate: '/sample/coffee' }, '/urlTemplate', 'Expected an absolute URL'],
    [{ urlTemplate: 'https://example.com/?c=%%CLICK_ID%%' }, '/urlTemplate', 'a template such as'],
    [{ passParameters: ['a.b'] }, '/passParameters', 'got "a.b"'],
    [{ passParameters: ['a,b'] }, '/passParameters', 'got "a,b"'],
    [{ passParameters: 'utm_*' }, '/passParameters', 'Expected an array, got "utm_*"'],
    [{ advertiserId: 1 }, '/advertiserId', 'Expected no value of this name'],
  ])('refuses %j', async (body, pointer, detail) => {
    expect(await create({ ...NEW, ...body })).toMatchObject({
      status: 400,
      body: { code: 'bad_request', errors: [{ pointer, detail: expect.stringContaining(detail) }] },
    });
  });

  it.each([
    [{ passParameters: ['click'] }, 400, 'bad_pass_list'],
    [{ campaignId: 2_000_000_000 }, 404, 'unknown_campaign'],
  ])('refuses %j by the rules of the ledger', async (body, status, code) => {
    expect(await create({ ...NEW, ...body })).toMatchObject({ status, body: { code } });
  });
});

describe('PATCH /v1/ads/{adId}', () => {
  it('changes what is given, and nothing else', async () => {
    const { body: before } = await create();
    const url = `/v1/ads/${before.id}`;
    const body = { price: '0.30', passParameters: [], status: 'paused' };
    expect((await api.send('PATCH', url, { body })).body).toEqual({ ...before, ...body });
    expect((await api.send('PATCH', url, { body: {} })).body).toEqual({ ...before, ...body });
  });

  it('changes and removes the name, which is part of the ETag', async () => {
    const { body: before, headers } = await create();
    const url = `/v1/ads/${before.id}`;
    const renamed = await api.send('PATCH', url, { body: { name: 'Red' } });
    expect(renamed.body).toEqual({ ...before, name: 'Red' });
    const match = { 'if-match': String(headers.etag) };
    expect((await api.send('PATCH', url, { headers: match, body: { name: 'Green' } })).status).toBe(412);
    expect((await api.send('PATCH', url, { body: { name: null } })).body).toEqual({ ...before, name: null });
  });

  it('refuses a stale ETag', async () => {
    const { body, headers } = await create();
    const url = `/v1/ads/${body.id}`;
    const match = { 'if-match': String(headers.etag) };
    const first = await api.send('PATCH', url, { headers: match, body: { price: '0.30' } });
    expect(first.status).toBe(200);
    const second = await api.send('PATCH', url, { headers: match, body: { price: '0.40' } });
    expect(second).toMatchObject({ status: 412, body: { code: 'stale_etag' } });
    expect((await api.send('GET', url)).body.price).toBe('0.30');
  });
});

describe('GET /v1/ads', () => {
  it('filters, in pages', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    const more = await addAdTo(database.pool, campaign, '0.25', 'Banner 300x250');
    const list = async (query: string) => {
      const { body } = await api.send('GET', `/v1/ads?${query}`);
      return { ids: body.items.map(({ id }: { id: number }) => id), next: body.nextCursor };
    };
    const first = await list(`advertiserId=${advertiser.id}&limit=1`);
    expect(first.ids).toEqual([ad.id]);
    expect(await list(`advertiserId=${advertiser.id}&limit=1&cursor=${first.next}`)).toEqual({
      ids: [more.id],
      next: null,
    });
    expect((await list(`campaignId=${campaign.id}`)).ids).toEqual([ad.id, more.id]);
    expect((await list(`campaignId=${campaign.id}&search=bANNER`)).ids).toEqual([more.id]);
    await api.send('PATCH', `/v1/ads/${more.id}`, { body: { status: 'archived' } });
    expect((await list(`campaignId=${campaign.id}`)).ids).toEqual([ad.id]);
    expect((await list(`campaignId=${campaign.id}&status=archived`)).ids).toEqual([more.id]);
    expect((await list(`campaignId=${campaign.id}&all=true`)).ids).toEqual([ad.id, more.id]);
  });
});

describe('a key of one advertiser', () => {
  it('sees its own ads, and gets the same answers for foreign ones as for unknown ones', async () => {
    const own = await addAccount(database.pool);
    const key = await api.addKey({ role: 'manager', advertiserIds: [own.advertiser.id] });
    const { body } = await api.send('GET', '/v1/ads', { key });
    expect(body.items.map(({ id }: { id: number }) => id)).toEqual([own.ad.id]);
    const patched = await api.send('PATCH', `/v1/ads/${own.ad.id}`, { key, body: { price: '0.50' } });
    expect(patched.status).toBe(200);
    const requests = [
      ['GET', (ad: number) => `/v1/ads/${ad}`, undefined],
      ['PATCH', (ad: number) => `/v1/ads/${ad}`, { price: '0.01' }],
      ['GET', (_: number, campaign: number) => `/v1/ads?campaignId=${campaign}`, undefined],
      ['POST', () => '/v1/ads', NEW],
    ] as const;
    const foreign = account;
    for (const [method, urlOf, sent] of requests) {
      const answerFor = async (ad: number, campaign: number) => {
        const payload = method === 'POST' ? { ...sent, campaignId: campaign } : sent;
        const answer = await api.send(method, urlOf(ad, campaign), {
          key,
          ...(payload && { body: payload }),
        });
        return {
          status: answer.status,
          text: JSON.stringify(answer.body).replaceAll(/got \d+/g, 'got <id>'),
        };
      };
      const answer = await answerFor(foreign.ad.id, foreign.campaign.id);
      expect(answer).toEqual(await answerFor(2_000_000_000, 2_000_000_000));
      expect(answer.status, method).toBe(404);
    }
  });
});
