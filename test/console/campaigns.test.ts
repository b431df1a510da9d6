import { beforeAll, describe, expect, it } from 'vitest';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

let berlin: number;
beforeAll(async () => {
  const body = { name: 'Berlin', currency: 'EUR', timeZone: 'Europe/Berlin' };
  berlin = (await api.send('POST', '/v1/advertisers', { body })).body.id;
});

const FULL = {
  name: 'Winter',
  externalId: null,
  status: 'active',
  cap: '500.00',
  dailyCap: '50.00',
  pacing: 'even',
  hold: true,
  startsAt: '2026-12-01',
  endsAt: '2026-12-25T12:00:00+01:00',
  fallbackUrl: 'https://example.com/sold-out',
};
/** What the API answers for `FULL`. */
const ANSWER = {
  ...FULL,
  advertiserName: 'Berlin',
  currency: 'EUR',
  timeZone: 'Europe/Berlin',
  startsAt: '2026-11-30T23:00:00.000Z',
  endsAt: '2026-12-25T11:00:00.000Z',
  spentToday: '0.00',
  pace: { planned: expect.any(Number), spent: 0, isAhead: false, aheadUntil: null },
};

const create = async (body: object = {}) =>
  (await api.send('POST', '/v1/campaigns', { body: { advertiserId: berlin, name: 'New', ...body } })).body;

describe('POST /v1/campaigns', () => {
  it('creates a campaign with all its settings', async () => {
    const answer = await api.send('POST', '/v1/campaigns', { body: { advertiserId: berlin, ...FULL } });
    expect(answer).toMatchObject({ status: 201, body: { ...ANSWER, advertiserId: berlin, spent: '0.00' } });
    const got = await api.send('GET', String(answer.headers.location));
    expect(got).toMatchObject({ status: 200, body: answer.body });
    expect(got.headers.etag).toBe(answer.headers.etag);
  });

  it('creates an active campaign without limits unless told otherwise', async () => {
    expect(await create()).toMatchObject({
      ...{ status: 'active', cap: null, spent: null, dailyCap: null, spentToday: null, pacing: 'none' },
      ...{ hold: false, pace: null, startsAt: null, endsAt: null, fallbackUrl: null, externalId: null },
    });
  });

  it('answers a repeated request with the same campaign', async () => {
    const request = {
      headers: { 'idempotency-key': 'campaign-1' },
      body: { advertiserId: berlin, name: 'Once' },
    };
    const [first, second] = [
      await api.send('POST', '/v1/campaigns', request),
      await api.send('POST', '/v1/campaigns', request),
    ];
    expect(second.body).toEqual(first.body);
    expect(second.headers).toMatchObject({ 'idempotency-replayed': 'true', etag: first.headers.etag });
  });

  it.each([
    [{ cap: 5 }, 400, '/cap', 'Expected a string, got 5'],
    [{ cap: '0' }, 400, '/cap', 'Expected an amount above 0, got "0"'],
    [{ cap: '-1.00' }, 400, '/cap', 'Expected an amount above 0, got "-1.00"'],
    [{ cap: '1e3' }, 400, '/cap', 'got "1e3"'],
    [{ dailyCap: '1000000001' }, 400, '/dailyCap', 'at most 1000000000'],
    [{ startsAt: '2d' }, 400, '/startsAt', 'got "2d"'],
    [{ startsAt: '2026-02-30' }, 400, '/startsAt', 'got "2026-02-30"'],
    [{ endsAt: '2026-12-25T12:00' }, 400, '/endsAt', 'got "2026-12-25T12:00"'],
    [
      { startsAt: '0001-01-01T00:00:00+12:00' },
      400,
      '/startsAt',
      'years 1970 to 9999 of UTC, got "0001-01-01T',
    ],
    [{ startsAt: '0099-12-31' }, 400, '/startsAt', 'years 1970 to 9999 of UTC, got "0099-12-31"'],
    [{ endsAt: '9999-12-31T23:00:00-01:00' }, 400, '/endsAt', 'years 1970 to 9999 of UTC, got "9999-12-31T'],
    [{ fallbackUrl: 'javascript:alert(1)' }, 400, '/fallbackUrl', 'got "javascript:alert(1)"'],
    [{ status: 'gone' }, 400, '/status', 'got "gone"'],
    [{ externalId: '' }, 400, '/externalId', 'Expected an external id of 1–100 printable characters'],
    [{ spent: '1.00' }, 400, '/spent', 'Expected no value of this name'],
  ])('refuses %j', async (body, status, pointer, detail) => {
    const answer = await api.send('POST', '/v1/campaigns', {
      body: { advertiserId: berlin, name: 'X', ...body },
    });
    expect(answer).toMatchObject({
      status,
      body: { code: 'bad_request', errors: [{ pointer, detail: expect.stringContaining(detail) }] },
    });
  });

  it.each([
    [{ pacing: 'even' }, 400, 'bad_pacing'],
    [{ startsAt: '2026-02-01', endsAt: '2026-01-31' }, 400, 'bad_window'],
    // It begins in 1969 in UTC.
    [{ startsAt: '1970-01-01' }, 400, 'bad_time'],
    [{ advertiserId: 2_000_000_000 }, 404, 'unknown_advertiser'],
  ])('refuses %j by the rules of the ledger', async (body, status, code) => {
    const answer = await api.send('POST', '/v1/campaigns', {
      body: { advertiserId: berlin, name: 'X', ...body },
    });
    expect(answer).toMatchObject({ status, body: { code } });
  });
});

describe('PATCH /v1/campaigns/{campaignId}', () => {
  it('changes what is given, and removes what is null', async () => {
    const { id, ...before } = await create(FULL);
    const url = `/v1/campaigns/${id}`;
    const body = { name: 'Spring', cap: null, startsAt: null, hold: false, status: 'paused' };
    expect((await api.send('PATCH', url, { body })).body).toMatchObject({
      ...{ ...before, ...body, id, spent: null, pace: expect.anything() },
    });
    const same = await api.send('PATCH', url, { body: {} });
    expect(same.body).toMatchObject({ name: 'Spring', dailyCap: '50.00', pacing: 'even' });
  });

  it('refuses a stale ETag, and a charge does not make one stale', async () => {
    const { campaign, ad } = await addAccount(database.pool, { cap: '10.00' });
    const url = `/v1/campaigns/${campaign.id}`;
    const { etag } = (await api.send('GET', url)).headers;
    expect(await chargeBatch(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
    const headers = { 'if-match': String(etag) };
    const first = await api.send('PATCH', url, { headers, body: { cap: '0.25' } });
    expect(first).toMatchObject({ status: 200, body: { cap: '0.25', spent: '0.25' } });
    const second = await api.send('PATCH', url, { headers, body: { cap: '5.00' } });
    expect(second).toMatchObject({ status: 412, body: { code: 'stale_etag' } });
    expect(await api.send('PATCH', url, { body: { cap: '0.24' } })).toMatchObject({
      status: 422,
      body: { code: 'cap_below_spent', detail: expect.stringContaining('at least 0.25') },
    });
  });

  it('refuses the external id of another campaign', async () => {
    await create({ externalId: 'taken' });
    const { id } = await create();
    expect(await api.send('PATCH', `/v1/campaigns/${id}`, { body: { externalId: 'taken' } })).toMatchObject({
      status: 409,
      body: { code: 'external_id_taken' },
    });
  });
});

describe('PUT /v1/advertisers/{advertiserId}/campaigns/by-external-id/{externalId}', () => {
  const put = (externalId: string, body: object, headers: Record<string, string> = {}) =>
    api.send('PUT', `/v1/advertisers/${berlin}/campaigns/by-external-id/${encodeURIComponent(externalId)}`, {
      body,
      headers,
    });
  const { externalId: _, ...settings } = FULL;

  it.each(['crm-1', 'a/b ?#%', 'ü'.repeat(100)])(
    'creates the campaign %s, changes nothing, then replaces all its settings',
    async (externalId) => {
      const created = await put(externalId, settings);
      expect(created).toMatchObject({ status: 201, body: { ...ANSWER, externalId } });
      const { id } = created.body;
      expect(created.headers.location).toBe(`/v1/campaigns/${id}`);
      const same = await put(externalId, settings);
      expect(same).toMatchObject({ status: 200, body: created.body });
      expect(same.headers.etag).toBe(created.headers.etag);
      const replaced = await put(externalId, { name: 'Only a name' });
      expect(replaced).toMatchObject({
        status: 200,
        body: {
          id,
          name: 'Only a name',
          cap: null,
          dailyCap: null,
          pacing: 'none',
          startsAt: null,
          hold: false,
        },
      });
      const listed = `/v1/campaigns?advertiserId=${berlin}&externalId=${encodeURIComponent(externalId)}`;
      expect((await api.send('GET', listed)).body.items).toEqual([replaced.body]);
    },
  );

  it('compares If-Match, also of a campaign that does not exist yet', async () => {
    for (const match of ['*', '"some"'])
      expect(await put('etag', { name: 'X' }, { 'if-match': match })).toMatchObject({ status: 412 });
    const { headers } = await put('etag', { name: 'X' });
    const match = { 'if-match': String(headers.etag) };
    expect(await put('etag', { name: 'Y' }, match)).toMatchObject({ status: 200 });
    expect(await put('etag', { name: 'Z' }, match)).toMatchObject({ status: 412 });
  });

  it.each([
    [
      'x'.repeat(101),
      { name: 'X' },
      'path/externalId: Expected an external id of 1–100 printable characters',
    ],
    ['ok', {}, 'body/name: Expected a string, got nothing'],
    ['ok', { name: 'X', externalId: 'other' }, 'body/externalId: Expected no value of this name'],
  ])('refuses %s with %j', async (externalId, body, detail) => {
    expect(await put(externalId, body)).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining(detail) },
    });
  });
});

describe('GET /v1/campaigns', () => {
  it('filters, in pages', async () => {
    const { advertiser, campaign } = await addAccount(database.pool);
    const more = await create({ advertiserId: advertiser.id, name: 'Needle', status: 'paused' });
    const list = async (query: string) => {
      const { body } = await api.send('GET', `/v1/campaigns?advertiserId=${advertiser.id}${query}`);
      return { ids: body.items.map(({ id }: { id: number }) => id), next: body.nextCursor };
    };
    const first = await list('&limit=1');
    expect(first.ids).toEqual([campaign.id]);
    expect(await list(`&limit=1&cursor=${first.next}`)).toEqual({ ids: [more.id], next: null });
    expect((await list('&status=paused')).ids).toEqual([more.id]);
    expect((await list('&search=nEEd')).ids).toEqual([more.id]);
  });

  it('refuses filters that do not exist', async () => {
    expect(await api.send('GET', '/v1/campaigns?advertiser=1')).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/advertiser' }] },
    });
  });
});

describe('a campaign without a cap', () => {
  it('has what it has spent as of the last rollup', async () => {
    const { campaign, ad } = await addAccount(database.pool);
    await chargeBatch(database.pool, [clickRecord({ ad }), clickRecord({ ad })]);
    await rollUp(database.pool);
    expect((await api.send('GET', `/v1/campaigns/${campaign.id}`)).body.spent).toBe('0.50');
  });
});

describe('a key of one advertiser', () => {
  let own: Account;
  let foreign: Account;
  let key: string;
  beforeAll(async () => {
    own = await addAccount(database.pool);
    foreign = await addAccount(database.pool);
    key = await api.addKey({ role: 'manager', advertiserIds: [own.advertiser.id] });
  });

  it('finds no campaign of another advertiser by its external id', async () => {
    await create({ advertiserId: foreign.advertiser.id, externalId: 'secret-id' });
    const list = (as: string) => api.send('GET', '/v1/campaigns?externalId=secret-id', { key: as });
    expect((await list(api.adminKey)).body.items).toHaveLength(1);
    expect(await list(key)).toMatchObject({ status: 200, body: { items: [], nextCursor: null } });
  });

  it('sees and changes its own campaigns', async () => {
    const { body } = await api.send('GET', '/v1/campaigns', { key });
    expect(body.items.map(({ id }: { id: number }) => id)).toEqual([own.campaign.id]);
    const url = `/v1/campaigns/${own.campaign.id}`;
    expect((await api.send('PATCH', url, { key, body: { name: 'Own' } })).status).toBe(200);
  });

  it.each(['GET', 'PATCH'] as const)(
    'gets the same answer to %s of a foreign campaign as of an unknown one',
    async (method) => {
      const answerFor = async (id: number) => {
        const options = method === 'GET' ? { key } : { key, body: { name: 'X' } };
        const { status, body } = await api.send(method, `/v1/campaigns/${id}`, options);
        return { status, text: JSON.stringify(body).replaceAll(String(id), '<id>') };
      };
      expect(await answerFor(foreign.campaign.id)).toEqual(await answerFor(2_000_000_000));
    },
  );

  it.each([
    ['GET', (id: number) => `/v1/campaigns?advertiserId=${id}`, undefined],
    ['PUT', (id: number) => `/v1/advertisers/${id}/campaigns/by-external-id/x`, { name: 'X' }],
    ['POST', () => '/v1/campaigns', { name: 'X' }],
  ] as const)(
    'gets the same answer to %s with a foreign advertiser as with an unknown one',
    async (method, urlOf, body) => {
      const answerFor = async (id: number) => {
        const sent = method === 'POST' ? { ...body, advertiserId: id } : body;
        const answer = await api.send(method, urlOf(id), { key, ...(sent && { body: sent }) });
        return { status: answer.status, text: JSON.stringify(answer.body).replaceAll(String(id), '<id>') };
      };
      expect(await answerFor(foreign.advertiser.id)).toEqual(await answerFor(2_000_000_000));
      expect((await answerFor(foreign.advertiser.id)).status).toBe(404);
    },
  );
});
