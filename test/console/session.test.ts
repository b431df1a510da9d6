import { describe, expect, it } from 'vitest';
import { addSamples } from '../../cli/samples.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { readVersion } from '../../common/version.ts';
import { ACCESS_RULES } from '../../console/api/access.ts';
import { readKey, revokeKey } from '../../ledger/access/api-keys.ts';
import { listAudit } from '../../ledger/access/audit-log.ts';
import { addAdvertiser, setAdvertiserStatus } from '../../ledger/accounts/advertisers.ts';
import { testDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { testApi } from './api-client.ts';
import { COOKIE, cookieOf, logIn, newLoginToken, OWN_PAGE, sendAs } from './session-client.ts';

const database = testDatabase();
const api = testApi(database, { TRUSTED_PROXIES: '127.0.0.1' });
const idOf = (key: string) => Number(key.split('_')[1]);
const get = (url: string, cookie: string) => sendAs(api, 'GET', url, { headers: { cookie } });
const post = (body: object, headers: Record<string, string> = OWN_PAGE) =>
  sendAs(api, 'POST', '/v1/session', { headers, body });

describe('POST /v1/session', () => {
  it('with a key begins a session of this key, in a cookie that scripts and other sites cannot use', async () => {
    const key = await api.addKey({ role: 'manager' });
    const answer = await post({ key });
    expect(answer).toMatchObject({ status: 201, headers: { 'cache-control': 'no-store' } });
    expect(answer.headers['set-cookie']).toMatch(
      new RegExp(`^${COOKIE}=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Strict$`),
    );
    expect(answer.body).toMatchObject({
      ...{ keyId: idOf(key), name: 'Test key', role: 'manager', advertiserIds: null },
      ...{ version: readVersion(), hasSamples: false, adServerUrl: 'http://localhost:8080', docsUrl: null },
    });
    expect(Date.parse(answer.body.expiresAt) - Date.now()).toBeCloseTo(7 * DAY_MS, -5);
    const again = await get('/v1/session', cookieOf(answer));
    expect(again).toMatchObject({ status: 200, body: answer.body });
    expect(JSON.stringify(answer.body)).not.toContain(key.slice(-43));
  });

  it('with a login link begins a session of its key', async () => {
    const key = await api.addKey({ role: 'finance' });
    const answer = await post({ login: await newLoginToken(database, idOf(key)) });
    expect(answer).toMatchObject({ status: 201, body: { keyId: idOf(key), role: 'finance' } });
    const admin = await post({ login: await newLoginToken(database) });
    expect(admin.body).toMatchObject({ name: 'console login', role: 'admin', advertiserIds: null });
    expect((await get('/v1/keys', cookieOf(admin))).status).toBe(200);
  });

  it('over https marks the cookie as secure, and only there', async () => {
    const key = await api.addKey({ role: 'viewer' });
    const https = { ...OWN_PAGE, 'x-forwarded-for': '192.0.2.7', 'x-forwarded-proto': 'https' };
    expect((await post({ key }, https)).headers['set-cookie']).toMatch(/; SameSite=Strict; Secure$/);
  });

  it('ends the session that the new one replaces', async () => {
    const first = await logIn(api, await api.addKey({ role: 'viewer' }));
    const key = await api.addKey({ role: 'manager' });
    const second = await post({ key }, { ...OWN_PAGE, cookie: first });
    expect((await get('/v1/session', cookieOf(second))).body.role).toBe('manager');
    expect((await get('/v1/session', first)).status).toBe(401);
  });

  it('is in the audit log as a change by the key, without a secret', async () => {
    const key = await api.addKey({ role: 'finance' });
    await logIn(api, key);
    await post({ login: await newLoginToken(database, idOf(key)) });
    const entries = await listAudit(database.pool, { limit: 3, actor: String(idOf(key)) });
    expect(entries.map(({ action, subject, after }) => [action, subject, after])).toEqual([
      ['session.create', String(idOf(key)), { by: 'login link' }],
      ['session.create', String(idOf(key)), { by: 'key' }],
    ]);
    expect(entries[0]).toMatchObject({ actorType: 'key', actorName: 'Test key', actorRole: 'finance' });
  });

  it.each([
    [{}, 'Expected either key or login'],
    [{ key: 'a', login: 'b' }, 'Expected either key or login'],
    [{ key: 1 }, '/key: Expected a string, got 1'],
    [{ key: 'a', role: 'admin' }, '/role: Expected no value of this name'],
  ])('with %j is refused', async (body, detail) => {
    expect(await post(body)).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining(detail) },
    });
  });
});

describe('GET /v1/session', () => {
  it('has the rules that allow the caller something, for keys too', async () => {
    const { id } = await addAdvertiser(database.pool, 'Blue Shoes', 'USD');
    const admin = await sendAs(api, 'GET', '/v1/session', {
      headers: { authorization: `Bearer ${api.adminKey}` },
    });
    expect(admin.body).toMatchObject({ expiresAt: null, allowed: Object.keys(ACCESS_RULES) });
    const key = await api.addKey({ role: 'viewer', advertiserIds: [id] });
    const { body } = await get('/v1/session', await logIn(api, key));
    expect(body).toMatchObject({ advertiserIds: [id], hasSamples: false });
    expect(body.allowed).toEqual(expect.arrayContaining(['advertisers.read', 'events.read', 'session.use']));
    for (const rule of ['budgets.write', 'status.read', 'keys.manage'])
      expect(body.allowed).not.toContain(rule);
  });

  it('ends with the key if that is earlier', async () => {
    const expiresAt = new Date(Date.now() + DAY_MS);
    const key = await api.addKey({ role: 'viewer', expiresAt });
    expect((await post({ key })).body.expiresAt).toBe(expiresAt.toISOString());
    expect((await get('/v1/session', await logIn(api, key))).body.expiresAt).toBe(expiresAt.toISOString());
  });
});

describe('a session', () => {
  it('does what its key may do, in its name', async () => {
    const key = await api.addKey({ role: 'admin' });
    const cookie = await logIn(api, key);
    const headers = { cookie, ...OWN_PAGE };
    const { status, body } = await sendAs(api, 'POST', '/v1/advertisers', { headers, body: { name: 'Red' } });
    expect(status).toBe(201);
    const [entry] = await listAudit(database.pool, { limit: 1, action: 'advertiser.create' });
    expect(entry).toMatchObject({ actorType: 'key', actor: String(idOf(key)), subject: String(body.id) });
    const viewer = await logIn(api, await api.addKey({ role: 'viewer' }));
    const refused = await sendAs(api, 'POST', '/v1/advertisers', {
      headers: { cookie: viewer, ...OWN_PAGE },
      body: { name: 'Red' },
    });
    expect(refused).toMatchObject({
      status: 403,
      body: { detail: 'Expected a key with the role admin, got one with the role viewer' },
    });
  });

  it('ends at once when its key is revoked or expires, and the answer deletes the cookie', async () => {
    for (const [end, word] of [
      [(id: number) => revokeKey(database.pool, id), 'was revoked'],
      [
        (id: number) => database.pool.query('update api_key set expires_at = now() where id = $1', [id]),
        'expired',
      ],
    ] as const) {
      const key = await api.addKey({ role: 'viewer' });
      const cookie = await logIn(api, key);
      expect((await get('/v1/advertisers', cookie)).status).toBe(200);
      await end(idOf(key));
      const answer = await get('/v1/advertisers', cookie);
      expect(answer).toMatchObject({
        status: 401,
        body: {
          detail: expect.stringContaining(
            `Cookie: expected an active key, got key ${idOf(key)}, which ${word}`,
          ),
        },
      });
      expect(answer.headers['set-cookie']).toContain(
        `${COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`,
      );
    }
  });

  it('ends when the browser logs out, and other sessions of the key go on', async () => {
    const key = await api.addKey({ role: 'viewer' });
    const [cookie, other] = [await logIn(api, key), await logIn(api, key)];
    const answer = await sendAs(api, 'DELETE', '/v1/session', { headers: { cookie, ...OWN_PAGE } });
    expect(answer).toMatchObject({ status: 204, body: null });
    expect(answer.headers['set-cookie']).toContain('Max-Age=0');
    expect((await get('/v1/session', cookie)).status).toBe(401);
    expect((await get('/v1/session', other)).status).toBe(200);
    const byKey = await sendAs(api, 'DELETE', '/v1/session', { headers: { authorization: `Bearer ${key}` } });
    expect(byKey.status).toBe(204);
    expect(byKey.headers).not.toHaveProperty('set-cookie');
    expect((await get('/v1/session', other)).status).toBe(200);
  });

  it('is renewed by its use, and so is the last use of its key', async () => {
    const key = await api.addKey({ role: 'viewer' });
    const cookie = await logIn(api, key);
    await database.pool.query(
      "update console_session set expires_at = now() + interval '1 day' where api_key_id = $1",
      [idOf(key)],
    );
    const before = await get('/v1/session', cookie);
    expect(Date.parse(before.body.expiresAt)).toBeLessThan(Date.now() + 2 * DAY_MS);
    await until('a later end', async () => {
      const { body } = await get('/v1/session', cookie);
      return Date.parse(body.expiresAt) > Date.now() + 6 * DAY_MS;
    });
    expect((await readKey(database.pool, idOf(key))).lastUsedAt).not.toBeNull();
  });

  it('has answers that no cache stores', async () => {
    const cookie = await logIn(api, await api.addKey({ role: 'viewer' }));
    expect((await get('/v1/advertisers', cookie)).headers['cache-control']).toBe('no-store');
  });

  it('gets an answer with a secret again, and another session of the key does not', async () => {
    const [cookie, other] = [await logIn(api, api.adminKey), await logIn(api, api.adminKey)];
    const create = (headers: Record<string, string>) =>
      sendAs(api, 'POST', '/v1/keys', {
        headers: { ...headers, ...OWN_PAGE, 'idempotency-key': 'sealed' },
        body: { name: 'new', role: 'viewer' },
      });
    const first = await create({ cookie });
    expect(first).toMatchObject({ status: 201, body: { key: expect.stringContaining('tollway_') } });
    expect(await create({ cookie })).toMatchObject({
      status: 201,
      body: first.body,
      headers: { 'idempotency-replayed': 'true' },
    });
    for (const headers of [{ cookie: other }, { authorization: `Bearer ${api.adminKey}` }])
      expect(await create(headers)).toMatchObject({
        status: 409,
        body: { code: 'idempotency_key_reused', detail: expect.stringContaining('its answer has a secret') },
      });
    const { rows } = await database.pool.query('select body from api_answer');
    expect(JSON.stringify(rows)).not.toContain(first.body.key.slice(-43));
  });

  it('shares the limit of requests with its key', async () => {
    const key = await api.addKey({ role: 'viewer' });
    const cookie = await logIn(api, key);
    const remaining = async (headers: Record<string, string>) =>
      Number((await sendAs(api, 'GET', '/v1/advertisers', { headers })).headers['ratelimit-remaining']);
    const left = await remaining({ cookie });
    expect(await remaining({ authorization: `Bearer ${key}` })).toBe(left - 1);
  });
});

describe('the samples', () => {
  const samples = testDatabase();
  const itsApi = testApi(samples);

  it('are told to callers of all advertisers while they are active', async () => {
    await addSamples(samples.pool);
    const hasSamples = async (cookie: string) =>
      (await sendAs(itsApi, 'GET', '/v1/session', { headers: { cookie } })).body.hasSamples;
    const all = await logIn(itsApi, itsApi.adminKey);
    const one = await logIn(itsApi, await itsApi.addKey({ role: 'viewer', advertiserIds: [1] }));
    expect([await hasSamples(all), await hasSamples(one)]).toEqual([true, false]);
    for (const id of [1, 2, 3]) await setAdvertiserStatus(samples.pool, id, 'archived');
    expect(await hasSamples(all)).toBe(false);
  });
});
