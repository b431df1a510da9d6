import { describe, expect, it } from 'vitest';
import { openAnswer, sealAnswer } from '../../console/api/sealed-answer.ts';
import { findKey } from '../../ledger/access/api-keys.ts';
import { testDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);
const NEW = { name: 'campaign system', role: 'manager' };
const create = async (body: object, headers: Record<string, string> = {}) =>
  api.send('POST', '/v1/keys', { body, headers });

describe('POST /v1/keys', () => {
  it('creates a key, and shows it once', async () => {
    const { body: advertiser } = await api.send('POST', '/v1/advertisers', { body: { name: 'Blue Shoes' } });
    const body = { ...NEW, advertiserIds: [advertiser.id], expiresAt: '2099-01-31T12:00:00+01:00' };
    const answer = await create(body);
    const { key, ...made } = answer.body;
    expect(answer.status).toBe(201);
    expect(answer.headers).toMatchObject({ location: `/v1/keys/${made.id}`, 'cache-control': 'no-store' });
    expect(made).toEqual({
      ...body,
      id: made.id,
      status: 'active',
      createdAt: expect.any(String),
      expiresAt: '2099-01-31T11:00:00.000Z',
      lastUsedAt: null,
      revokedAt: null,
    });
    expect((await api.send('GET', `/v1/advertisers/${advertiser.id}`, { key })).status).toBe(200);
    const lists = [await api.send('GET', '/v1/keys'), await api.send('GET', `/v1/keys/${made.id}`)];
    expect(JSON.stringify(lists)).not.toContain(key.slice(-43));
  });

  it('gives a repeated request the same key, and the database does not have it', async () => {
    const headers = { 'idempotency-key': 'one-key' };
    const [first, second] = [await create(NEW, headers), await create(NEW, headers)];
    expect(second).toMatchObject({ status: 201, body: first.body });
    expect(second.headers).toMatchObject({ location: first.headers.location, 'cache-control': 'no-store' });
    const { rows } = await database.pool.query('select * from api_answer');
    const stored = JSON.stringify(rows);
    expect(rows).toHaveLength(1);
    for (const text of [first.body.key, first.body.key.slice(-43), NEW.name])
      expect(stored).not.toContain(text);
    expect(await findKey(database.pool, first.body.key)).toMatchObject({ id: first.body.id });
  });

  it.each([
    [{ ...NEW, role: 'owner' }, 400, '/role'],
    [{ ...NEW, role: 'admin', advertiserIds: [1] }, 400, 'Expected the role manager, finance or viewer'],
    [{ ...NEW, advertiserIds: [] }, 400, '/advertiserIds'],
    [{ ...NEW, advertiserIds: ['1'] }, 400, '/advertiserIds/0'],
    [{ ...NEW, advertiserIds: [2_147_483_647] }, 404, 'Expected the id of an advertiser'],
    [{ ...NEW, expiresAt: '2020-01-31T12:00:00Z' }, 400, 'Expected an expiry in the future'],
    [{ ...NEW, expiresAt: '2099-01-31' }, 400, '/expiresAt'],
    [{ ...NEW, name: ' ' }, 400, '/name'],
    [{ ...NEW, key: 'tollway_1_x' }, 400, '/key'],
    [{ ...NEW, id: 1 }, 400, '/id'],
    [{ ...NEW, secretHash: 'x' }, 400, '/secretHash'],
    [{ role: 'viewer' }, 400, '/name'],
  ])('refuses %j: %d', async (body, status, detail) => {
    const before = (await api.send('GET', '/v1/keys?limit=500')).body.items.length;
    const answer = await create(body);
    expect(answer.status).toBe(status);
    expect(answer.body.detail).toContain(detail);
    expect((await api.send('GET', '/v1/keys?limit=500')).body.items).toHaveLength(before);
  });
});

describe('DELETE /v1/keys/{keyId}', () => {
  it('revokes a key for good, also the own one', async () => {
    const { body } = await create({ name: 'second admin', role: 'admin' });
    const url = `/v1/keys/${body.id}`;
    const revoked = await api.send('DELETE', url, { key: body.key });
    expect(revoked).toMatchObject({ status: 200, body: { id: body.id, status: 'revoked' } });
    await until(
      'the refusal of the key',
      async () => (await api.send('GET', '/v1/keys', { key: body.key })).status === 401,
    );
    expect((await api.send('DELETE', url)).body).toEqual(revoked.body);
    expect((await api.send('GET', url)).body).toEqual(revoked.body);
    expect(await api.send('DELETE', '/v1/keys/2147483647')).toMatchObject({
      status: 404,
      body: { code: 'unknown_key' },
    });
  });
});

describe('GET /v1/keys', () => {
  it('has pages', async () => {
    const ids = [];
    for (const name of ['a', 'b', 'c']) ids.push((await create({ ...NEW, name })).body.id);
    const first = await api.send('GET', '/v1/keys?limit=1');
    let { nextCursor } = first.body;
    const found = first.body.items.map(({ id }: { id: number }) => id);
    while (nextCursor !== null) {
      const { body } = await api.send('GET', `/v1/keys?limit=2&cursor=${nextCursor}`);
      found.push(...body.items.map(({ id }: { id: number }) => id));
      nextCursor = body.nextCursor;
    }
    expect(found).toEqual([...found].sort((a: number, b: number) => a - b));
    expect(found).toEqual(expect.arrayContaining(ids));
  });
});

describe('a sealed answer', () => {
  it('is opened with the same API key alone, and only if nothing was changed', () => {
    const sealed = sealAnswer('a secret “text”', 'tollway_1_a');
    expect(openAnswer(sealed, 'tollway_1_a')).toBe('a secret “text”');
    expect(sealAnswer('a secret “text”', 'tollway_1_a')).not.toBe(sealed);
    expect(() => openAnswer(sealed, 'tollway_1_b')).toThrow();
    for (let at = 0; at < sealed.length - 1; at += 1) {
      const changed = `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`;
      expect(() => openAnswer(changed, 'tollway_1_a'), String(at)).toThrow();
    }
  });
});
