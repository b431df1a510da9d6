import { describe, expect, it } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();

describe('the limit of a key', () => {
  const api = testApi(database, { CONSOLE_REQUESTS_PER_SECOND: '1' });
  const list = (key: string) => api.send('GET', '/v1/advertisers', { key });

  it('is in the headers of each answer, and answers 429 when it is exceeded', async () => {
    const key = await api.addKey({ role: 'viewer' });
    const first = await list(key);
    expect(first.headers).toMatchObject({ 'ratelimit-limit': '10', 'ratelimit-remaining': '9' });
    expect(Number(first.headers['ratelimit-reset'])).toBeLessThanOrEqual(10);
    for (let sent = 1; sent < 10; sent += 1) expect((await list(key)).status).toBe(200);
    const refused = await list(key);
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(refused.headers).toMatchObject({ 'ratelimit-remaining': '0' });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  });

  it('does not count for other keys', async () => {
    expect((await list(await api.addKey({ role: 'viewer' }))).status).toBe(200);
  });
});

describe('wrong keys', () => {
  const api = testApi(database, { TRUSTED_PROXIES: '127.0.0.1' });
  const send = (address: string, key: string) =>
    api.send('GET', '/v1/advertisers', { key, headers: { 'x-forwarded-for': address } });

  it('are refused for a while if one address sends many, but not keys that were accepted', async () => {
    const [known, fresh] = [await api.addKey({ role: 'viewer' }), await api.addKey({ role: 'viewer' })];
    expect((await send('192.0.2.1', known)).status).toBe(200);
    for (let sent = 0; sent < 30; sent += 1) expect((await send('192.0.2.1', 'wrong')).status).toBe(401);
    const refused = await send('192.0.2.1', 'wrong');
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(50);
    expect((await send('192.0.2.1', fresh)).status).toBe(429);
    expect((await send('192.0.2.1', known)).status).toBe(200);
    expect((await send('192.0.2.2', fresh)).status).toBe(200);
  });

  it('are not counted if a request has no key at all', async () => {
    const headers = { 'x-forwarded-for': '192.0.2.3' };
    const send = () => api.app.inject({ url: '/v1/advertisers', headers });
    for (let sent = 0; sent < 31; sent += 1) expect((await send()).statusCode).toBe(401);
  });

  it('count for the whole network of an IPv6 address', async () => {
    for (let sent = 0; sent < 30; sent += 1) await send(`2001:db8::${sent.toString(16)}`, 'wrong');
    expect((await send('2001:db8::ffff', 'wrong')).status).toBe(429);
    expect((await send('2001:db8:0:1::1', 'wrong')).status).toBe(401);
  });
});
