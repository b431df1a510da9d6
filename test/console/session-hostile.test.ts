import { beforeAll, describe, expect, it } from 'vitest';
import { revokeKey } from '../../ledger/access/api-keys.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';
import { COOKIE, logIn, newLoginToken, OWN_PAGE, sendAs } from './session-client.ts';

const database = testDatabase();
const api = testApi(database, { TRUSTED_PROXIES: '127.0.0.1' });
const other = testApi(database, { CONSOLE_PORT: '8093' });
let cookie = '';

beforeAll(async () => {
  cookie = await logIn(api, api.adminKey);
});

const create = (headers: Record<string, string>) =>
  sendAs(api, 'POST', '/v1/advertisers', { headers: { cookie, ...headers }, body: { name: 'forged' } });
const get = (headers: Record<string, string>, url = '/v1/keys') => sendAs(api, 'GET', url, { headers });
const countForged = async () =>
  (await database.pool.query("select from advertiser where name = 'forged'")).rowCount;

describe('a change with the cookie', () => {
  it.each([
    ['does not say which page has sent it', {}],
    ['comes from another site', { 'sec-fetch-site': 'cross-site', Origin: 'https://evil.example' }],
    [
      'comes from another port of the host',
      { 'sec-fetch-site': 'same-site', Origin: 'http://localhost:3000' },
    ],
    ['says that the user has typed it', { 'sec-fetch-site': 'none' }],
    [
      'comes from another site, and names the own origin',
      { 'sec-fetch-site': 'cross-site', Origin: 'http://localhost:80' },
    ],
    ['says two things', { 'sec-fetch-site': 'same-origin, cross-site' }],
    ['has another port in its origin', { Origin: 'http://localhost:3000' }],
    ['has an origin that begins with the host', { Origin: 'http://localhost.evil.example' }],
    ['has an origin that ends with the host', { Origin: 'http://evil-localhost' }],
    ['has the host as the user of its origin', { Origin: 'http://localhost@evil.example' }],
    ['has an opaque origin', { Origin: 'null' }],
    ['has an empty origin', { Origin: '' }],
    ['names its host itself', { Origin: 'https://evil.example', 'x-forwarded-host': 'other.example' }],
  ])('is refused if it %s', async (_, headers) => {
    const answer = await create(headers);
    expect(answer).toMatchObject({
      status: 403,
      body: { code: 'forbidden', detail: expect.stringContaining('Expected a request of a page of') },
    });
    expect(await countForged()).toBe(0);
  });

  it.each(['PATCH', 'PUT', 'DELETE'] as const)('is refused by %s too', async (method) => {
    const urls = {
      PATCH: '/v1/advertisers/1',
      PUT: '/v1/advertisers/1/campaigns/by-external-id/x',
      DELETE: '/v1/session',
    };
    const options = { headers: { cookie, 'sec-fetch-site': 'same-site' } };
    expect((await sendAs(api, method, urls[method], options)).status).toBe(403);
    expect((await get({ cookie })).status).toBe(200);
  });

  it.each([
    ['is of the own origin', { 'sec-fetch-site': 'same-origin' }],
    ['is of an older browser of the own origin', { Origin: 'http://localhost:80' }],
    [
      'is of the own origin behind a proxy',
      {
        'x-forwarded-host': 'Tollway.example',
        'x-forwarded-proto': 'https',
        Origin: 'https://tollway.example',
      },
    ],
  ])('is made if it %s', async (_, headers) => {
    expect((await create(headers)).status).toBe(201);
    await database.pool.query("delete from advertiser where name = 'forged'");
  });
});

describe('a read with the cookie', () => {
  it.each(['cross-site', 'same-site'])('is refused for pages of another origin: %s', async (sender) => {
    expect((await get({ cookie, 'sec-fetch-site': sender })).status).toBe(403);
  });

  it.each([{}, { 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }])(
    'is answered with %j',
    async (headers) => {
      expect((await get({ cookie, ...headers })).status).toBe(200);
    },
  );

  it('has no header that lets another origin read it', async () => {
    const { headers } = await get({ cookie, Origin: 'http://localhost:80' });
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

describe('a log-in', () => {
  it('is refused for a page of another origin, and answered for programs', async () => {
    const post = (headers: Record<string, string>) =>
      sendAs(api, 'POST', '/v1/session', { headers, body: { key: api.adminKey } });
    expect(await post({ 'sec-fetch-site': 'cross-site' })).toMatchObject({ status: 403 });
    expect(await post({ Origin: 'https://evil.example' })).toMatchObject({ status: 403 });
    expect(await post({})).toMatchObject({ status: 201 });
  });

  it('cannot be a form of another site', async () => {
    const response = await api.app.inject({
      ...{ method: 'POST', url: '/v1/session', payload: JSON.stringify({ key: api.adminKey }) },
      headers: { 'content-type': 'text/plain' },
    });
    expect(response.statusCode).toBe(415);
  });

  it('with a link succeeds once, also for several at once', async () => {
    const token = await newLoginToken(database);
    const use = () => sendAs(api, 'POST', '/v1/session', { headers: OWN_PAGE, body: { login: token } });
    const answers = await Promise.all([use(), use(), use(), use()]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 401, 401, 401]);
    const replayed = await use();
    expect(replayed).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
    expect(replayed.headers).not.toHaveProperty('set-cookie');
    expect(replayed.body.detail).toContain(
      'expected a login link that is at most 10 minutes old and was not used',
    );
    expect(JSON.stringify(replayed.body)).not.toContain(token);
  });

  it('is refused with a link whose time is over or whose key was revoked', async () => {
    const late = await newLoginToken(database);
    await database.pool.query('update login_link set expires_at = now()');
    const key = await api.addKey({ role: 'viewer' });
    const keyId = Number(key.split('_')[1]);
    const revoked = await newLoginToken(database, keyId);
    await revokeKey(database.pool, keyId);
    for (const body of [
      { login: late },
      { login: revoked },
      { key },
      { login: key },
      { key: late },
      { key: '' },
    ])
      expect(await sendAs(api, 'POST', '/v1/session', { headers: OWN_PAGE, body })).toMatchObject({
        status: 401,
        body: { code: 'unauthenticated' },
      });
  });
});

describe('a cookie', () => {
  const token = () => cookie.slice(COOKIE.length + 1);

  it.each([
    ['of a token that never was', () => `${COOKIE}=${'A'.repeat(43)}`],
    ['without a token', () => `${COOKIE}=`],
    ['with a part of the token', () => `${COOKIE}=${token().slice(0, -1)}`],
    ['with the token in quotes', () => `${COOKIE}="${token()}"`],
    ['with an API key', () => `${COOKIE}=${api.adminKey}`],
    ['of a console on another port', () => `tollway_session_8093=${token()}`],
    ['without a port', () => `tollway_session=${token()}`],
    ['whose name has other letters', () => `TOLLWAY_SESSION_8083=${token()}`],
    ['that holds the cookie in its value', () => `a="${COOKIE}=${token()}"`],
    ['that is sent twice, with a forged one first', () => `${COOKIE}=${'A'.repeat(43)}; ${cookie}`],
    ['that is sent twice, with a forged one last', () => `${cookie}; ${COOKIE}=${'A'.repeat(43)}`],
    ['with 10 kB', () => `${COOKIE}=${'A'.repeat(10_000)}`],
  ])('%s is refused', async (_, text) => {
    expect(await get({ cookie: text() })).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
  });

  it('of another console on the host has another name, and the two do not disturb each other', async () => {
    const theirs = await logIn(other, await other.addKey({ role: 'viewer' }));
    expect(theirs).toMatch(/^tollway_session_8093=/);
    for (const both of [`${cookie}; ${theirs}`, `${theirs}; ${cookie}`]) {
      expect((await get({ cookie: both }, '/v1/session')).body.role).toBe('admin');
      expect((await sendAs(other, 'GET', '/v1/session', { headers: { cookie: both } })).body.role).toBe(
        'viewer',
      );
    }
    expect((await sendAs(other, 'GET', '/v1/session', { headers: { cookie } })).status).toBe(401);
  });

  it('is found among others', async () => {
    expect((await get({ cookie: `theme=dark; ${cookie} ; x=${COOKIE}=1` })).status).toBe(200);
  });

  it('does not count beside a header with a wrong key, and lends nothing to a weaker one', async () => {
    expect((await get({ cookie, authorization: `Bearer tollway_1_${'A'.repeat(43)}` })).status).toBe(401);
    const viewer = await api.addKey({ role: 'viewer' });
    expect((await get({ cookie, authorization: `Bearer ${viewer}` })).status).toBe(403);
  });

  it('is not accepted as a key, and its token is in no answer', async () => {
    expect((await get({ authorization: `Bearer ${token()}` })).status).toBe(401);
    for (const url of ['/v1/session', '/v1/keys', '/v1/audit'])
      expect(JSON.stringify((await get({ cookie }, url)).body)).not.toContain(token());
  });
});

describe('wrong log-ins and cookies', () => {
  const from = (address: string) => ({ ...OWN_PAGE, 'x-forwarded-for': address });

  it('count like wrong keys, and a valid log-in of the address is then refused too', async () => {
    const address = '192.0.2.40';
    const key = await api.addKey({ role: 'viewer' });
    for (let sent = 0; sent < 10; sent += 1) {
      await sendAs(api, 'POST', '/v1/session', { headers: from(address), body: { key: `${key}x` } });
      await sendAs(api, 'POST', '/v1/session', { headers: from(address), body: { login: 'A'.repeat(43) } });
      await get({ ...from(address), cookie: `${COOKIE}=${'A'.repeat(43)}` });
    }
    const login = (one: string) => sendAs(api, 'POST', '/v1/session', { headers: from(one), body: { key } });
    const refused = await login(address);
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(50);
    expect((await get({ ...from(address), authorization: `Bearer ${key}` })).status).toBe(429);
    expect((await login('192.0.2.41')).status).toBe(201);
  });

  it('do not stop a session that was accepted lately', async () => {
    const address = '192.0.2.42';
    expect((await get({ ...from(address), cookie })).status).toBe(200);
    for (let sent = 0; sent < 31; sent += 1)
      await get({ ...from(address), cookie: `${COOKIE}=${'B'.repeat(43)}` });
    expect((await get({ ...from(address), cookie: `${COOKIE}=${'B'.repeat(43)}` })).status).toBe(429);
    expect((await get({ ...from(address), cookie })).status).toBe(200);
  });
});
