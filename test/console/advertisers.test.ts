import { describe, expect, it } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

const NEW = { name: 'Blue Shoes', currency: 'EUR', timeZone: 'Europe/Berlin' };
const create = async () => (await api.send('POST', '/v1/advertisers', { body: NEW })).body.id as number;

describe('POST /v1/advertisers', () => {
  it('creates an advertiser with an empty budget', async () => {
    const answer = await api.send('POST', '/v1/advertisers', { body: NEW });
    expect(answer).toMatchObject({
      status: 201,
      body: { ...NEW, status: 'active', budget: '0.00', spent: '0.00', remaining: '0.00' },
    });
    const { location, etag } = answer.headers;
    const got = await api.send('GET', String(location));
    expect(got.body).toEqual(answer.body);
    expect(got.headers.etag).toBe(etag);
  });

  it('uses US dollars and UTC unless told otherwise', async () => {
    const { body } = await api.send('POST', '/v1/advertisers', { body: { name: 'A' } });
    expect(body).toMatchObject({ currency: 'USD', timeZone: 'UTC' });
  });

  it('refuses a time zone that the database server does not know', async () => {
    const timeZone = 'US/Pacific-New';
    const refusal = {
      status: 400,
      body: { code: 'bad_time_zone', detail: expect.stringContaining('the database server knows') },
    };
    expect(await api.send('POST', '/v1/advertisers', { body: { ...NEW, timeZone } })).toMatchObject(refusal);
    expect(await api.send('GET', `/v1/reports?since=2d&timeZone=${timeZone}`)).toMatchObject(refusal);
  });

  it('reports everything that is wrong with a body together', async () => {
    const body = { name: ' ', currency: 'euro', timeZone: 'Mars/Base', budget: 5 };
    const answer = await api.send('POST', '/v1/advertisers', { body });
    expect(answer).toMatchObject({
      status: 400,
      headers: { 'content-type': 'application/problem+json; charset=utf-8' },
      body: {
        type: 'urn:tollway:error:bad_request',
        title: 'Bad request',
        status: 400,
        code: 'bad_request',
        detail: 'body/name: Expected a name of 1–200 printable characters, got none (and 3 more)',
        errors: [
          { pointer: '/name', detail: 'Expected a name of 1–200 printable characters, got none' },
          { pointer: '/currency', detail: expect.stringContaining('got "euro"') },
          { pointer: '/timeZone', detail: expect.stringContaining('got "Mars/Base"') },
          { pointer: '/budget', detail: 'Expected no value of this name' },
        ],
      },
    });
  });

  it.each([
    ['a name that is a number', { name: 5 }, 'body/name: Expected a string, got 5'],
    ['no name', {}, 'body/name: Expected a string, got nothing'],
    ['a list', [], 'body: Expected an object, got an array'],
    ['no JSON', '{"name":', 'body: Expected JSON, got a text that is none'],
    ['nothing', '', 'body: Expected an object, got null'],
  ])('refuses %s', async (_, body, detail) => {
    expect(await api.send('POST', '/v1/advertisers', { body })).toMatchObject({
      status: 400,
      body: { detail },
    });
  });
});

describe('PATCH /v1/advertisers/{advertiserId}', () => {
  it('sets the thresholds of low budgets', async () => {
    const url = `/v1/advertisers/${await create()}`;
    expect((await api.send('GET', url)).body).toMatchObject({ lowBudgetPercents: [20, 5] });
    const changed = await api.send('PATCH', url, { body: { lowBudgetPercents: [10, 50] } });
    expect(changed.body).toMatchObject({ lowBudgetPercents: [50, 10] });
    const refused = await api.send('PATCH', url, { body: { lowBudgetPercents: [10, 10] } });
    expect(refused).toMatchObject({ status: 400, body: { code: 'bad_thresholds' } });
    const far = await api.send('PATCH', url, { body: { lowBudgetPercents: [100] } });
    expect(far).toMatchObject({ status: 400, body: { code: 'bad_request' } });
  });

  it('changes what is given, and nothing else', async () => {
    const id = await create();
    const url = `/v1/advertisers/${id}`;
    expect((await api.send('PATCH', url, { body: { status: 'paused' } })).body).toMatchObject({
      ...NEW,
      status: 'paused',
    });
    const renamed = await api.send('PATCH', url, { body: { name: 'Red Shoes' } });
    expect(renamed).toMatchObject({ status: 200, body: { name: 'Red Shoes', status: 'paused' } });
    expect((await api.send('PATCH', url, { body: {} })).body).toEqual(renamed.body);
  });

  it('refuses a stale ETag, and a budget entry does not make one stale', async () => {
    const id = await create();
    const url = `/v1/advertisers/${id}`;
    const { etag } = (await api.send('GET', url)).headers;
    await api.send('POST', `${url}/budget-entries`, { body: { amount: '5' } });
    const headers = { 'if-match': String(etag) };
    const first = await api.send('PATCH', url, { headers, body: { name: 'First' } });
    expect(first.status).toBe(200);
    const second = await api.send('PATCH', url, { headers, body: { name: 'Second' } });
    expect(second).toMatchObject({ status: 412, body: { code: 'stale_etag' } });
    expect(second.headers).not.toHaveProperty('etag');
    expect((await api.send('GET', url)).body.name).toBe('First');
    const { etag: present } = first.headers;
    for (const match of ['*', `"other", ${present}`]) {
      const answer = await api.send('PATCH', url, {
        headers: { 'if-match': match },
        body: { name: 'Third' },
      });
      expect(answer.status, match).toBe(match === '*' ? 200 : 412);
    }
  });

  it('does not accept a weak ETag', async () => {
    const url = `/v1/advertisers/${await create()}`;
    const { etag } = (await api.send('GET', url)).headers;
    const answer = await api.send('PATCH', url, {
      headers: { 'if-match': `W/${etag}` },
      body: { name: 'A' },
    });
    expect(answer.status).toBe(412);
  });

  it('has no fields but name and status', async () => {
    const answer = await api.send('PATCH', `/v1/advertisers/${await create()}`, {
      body: { currency: 'USD' },
    });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/currency' }] } });
  });
});

describe('GET /v1/advertisers', () => {
  it('returns pages, ordered by id', async () => {
    const ids = [await create(), await create(), await create()];
    const seen: number[] = [];
    let cursor = '';
    for (let pages = 0; ; pages += 1) {
      expect(pages).toBeLessThan(20);
      const { body } = await api.send('GET', `/v1/advertisers?limit=2${cursor && `&cursor=${cursor}`}`);
      expect(body.items.length).toBeLessThanOrEqual(2);
      seen.push(...body.items.map(({ id }: { id: number }) => id));
      if (body.nextCursor === null) break;
      cursor = body.nextCursor;
    }
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(ids));
  });

  it('filters by status, and leaves archived ones out unless asked for', async () => {
    const id = await create();
    await api.send('PATCH', `/v1/advertisers/${id}`, { body: { status: 'archived' } });
    const idsOf = async (query: string) => {
      const { body } = await api.send('GET', `/v1/advertisers?limit=500&${query}`);
      return body.items.map((item: { id: number }) => item.id);
    };
    expect(await idsOf('')).not.toContain(id);
    expect(await idsOf('status=active')).not.toContain(id);
    expect(await idsOf('status=archived')).toEqual([id]);
    expect(await idsOf('all=true')).toContain(id);
  });

  it('shows a restricted key its own advertisers only', async () => {
    const [own, other] = [await create(), await create()];
    const key = await api.addKey({ role: 'viewer', advertiserIds: [own] });
    const { body } = await api.send('GET', '/v1/advertisers?all=true', { key });
    expect(body).toMatchObject({ items: [{ id: own }], nextCursor: null });
    const hidden = await api.send('GET', `/v1/advertisers/${other}`, { key });
    const missing = await api.send('GET', `/v1/advertisers/${2 ** 31 - 1}`, { key });
    expect(hidden.status).toBe(404);
    expect(JSON.stringify(hidden.body).replaceAll(String(other), '?')).toBe(
      JSON.stringify(missing.body).replaceAll(String(2 ** 31 - 1), '?'),
    );
  });

  it.each([
    ['limit=0', 'query/limit: Expected a whole number of 1–500, got "0"'],
    ['limit=501', 'query/limit: Expected a whole number of 1–500, got "501"'],
    ['limit=1&limit=2', 'query/limit: Expected a string, got an array'],
    ['cursor=x', 'query/cursor: Expected nextCursor of a page, got "x"'],
    ['status=gone', 'query/status: Expected "active" or "paused" or "archived", got "gone"'],
    ['all=1', 'query/all: Expected "true" or "false", got "1"'],
    ['page=2', 'query/page: Expected no value of this name'],
  ])('refuses %s', async (query, detail) => {
    const answer = await api.send('GET', `/v1/advertisers?${query}`);
    expect(answer).toMatchObject({ status: 400, body: { detail } });
  });

  it.each(['0', '01', '-1', '1.5', 'x', '2147483648', '99999999999999999999'])(
    'refuses the id %s',
    async (id) => {
      const answer = await api.send('GET', `/v1/advertisers/${id}`);
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/advertiserId' }] } });
    },
  );
});
