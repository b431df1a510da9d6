import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { createKey } from '../../ledger/access/api-keys.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';
import { OWNER_SETTINGS } from './owners.ts';
import { routeCallers } from './route-callers.ts';

const database = testDatabase();
const api = testApi(database, OWNER_SETTINGS);
const callers = routeCallers(() => database.pool);

describe('over a connection, a request without one valid key', () => {
  let port = 0;
  beforeAll(async () => {
    await api.app.listen({ port: 0, host: '127.0.0.1' });
    port = (api.app.server.address() as AddressInfo).port;
  });

  /** The status lines of all answers to the bytes of a connection. */
  async function statusesOf(text: string): Promise<string[]> {
    const socket = connect(port, '127.0.0.1');
    socket.write(text, 'latin1');
    let answer = '';
    socket.setEncoding('latin1').on('data', (chunk) => {
      answer += chunk;
    });
    await once(socket, 'close');
    return [...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status);
  }

  const request = (line: string, ...headers: string[]) =>
    [`${line} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers, '', ''].join('\r\n');

  it.each([
    ['in a path with two slashes', () => request('GET //v1/keys')],
    ['in a path with a slash at its end', () => request('GET /v1/keys/')],
    ['in a path in upper case', () => request('GET /V1/KEYS')],
    ['in an escaped path', () => request('GET /v1/%6beys')],
    ['in a path with dots', () => request('GET /reference/../v1/keys')],
    ['in a path with a semicolon', () => request('GET /v1/keys;x=/reference')],
    ['with an absolute address', () => request('GET http://localhost/v1/keys')],
    ['by HEAD', () => request('HEAD /v1/keys')],
    [
      'with another method in a header',
      () => request('GET /reference/none', 'X-HTTP-Method-Override: DELETE'),
    ],
    ['with another address in a header', () => request('GET /v1/keys', 'X-Original-URL: /reference')],
    ['as if from this host', () => request('GET /v1/keys', 'X-Forwarded-For: 127.0.0.1')],
    [
      'with a key in a folded header',
      (key: string) => request('GET /v1/keys', 'Authorization: Bearer', ` ${key}`),
    ],
    ['with a NUL in its key', (key: string) => request('GET /v1/keys', `Authorization: Bearer ${key}\0`)],
    [
      'with a space before the colon',
      (key: string) => request('GET /v1/keys', `Authorization : Bearer ${key}`),
    ],
    [
      'with digits of another script',
      (key: string) => request('GET /v1/keys', `Authorization: Bearer ${key.replace(/\d/, '\xb2')}`),
    ],
    [
      'with a key of 12 kB',
      () => request('GET /v1/keys', `Authorization: Bearer tollway_1_${'A'.repeat(12_000)}`),
    ],
    ['with a header of 40 kB', () => request('GET /v1/keys', `Authorization: Bearer ${'A'.repeat(40_000)}`)],
    [
      'with two lengths',
      (key: string) =>
        request('POST /v1/keys', `Authorization: Bearer ${key}`, 'Content-Length: 0', 'Content-Length: 5'),
    ],
    [
      'with a length and chunks',
      (key: string) =>
        request(
          'POST /v1/keys',
          `Authorization: Bearer ${key}`,
          'Content-Length: 4',
          'Transfer-Encoding: chunked',
        ),
    ],
  ])('%s is refused', async (_, text) => {
    const { key } = await createKey(database.pool, { name: 'a key', role: 'admin' });
    const statuses = await statusesOf(text(key));
    expect(statuses.length).toBe(1);
    expect(Number(statuses[0])).toBeGreaterThanOrEqual(400);
    expect(Number(statuses[0])).toBeLessThan(500);
  });

  it('is refused as the second one of a connection, after one with a key', async () => {
    const { key } = await createKey(database.pool, { name: 'a key', role: 'admin' });
    const first = request('GET /v1/keys', `Authorization: Bearer ${key}`).replace('close', 'keep-alive');
    expect(await statusesOf(first + request('GET /v1/keys'))).toEqual(['200', '401']);
  });
});

describe('a restricted manager', () => {
  const send = (method: 'PATCH' | 'POST' | 'PUT' | 'GET', url: string, body?: unknown) =>
    api.send(method, url, {
      key: callers.keyOf('manager', 'the owner'),
      ...(body !== undefined && { body }),
    });

  type Case = readonly [string, 'PATCH' | 'POST' | 'GET', () => string, () => unknown];
  const cases: readonly Case[] = [
    [
      'gives its campaign to another advertiser',
      'PATCH',
      () => `/v1/campaigns/${callers.own.campaignId}`,
      () => ({ advertiserId: callers.other.advertiserId }),
    ],
    [
      'moves its ad to a campaign of another advertiser',
      'PATCH',
      () => `/v1/ads/${callers.own.adId}`,
      () => ({ campaignId: callers.other.campaignId }),
    ],
    [
      'names another advertiser for its ad',
      'PATCH',
      () => `/v1/ads/${callers.own.adId}`,
      () => ({ advertiserId: callers.other.advertiserId }),
    ],
    [
      'names two advertisers for a campaign',
      'POST',
      () => '/v1/campaigns',
      () =>
        `{"name":"x","advertiserId":${callers.own.advertiserId},"advertiserId":${callers.other.advertiserId}}`,
    ],
    [
      'names another advertiser beside its campaign',
      'POST',
      () => '/v1/ads',
      () => ({
        campaignId: callers.own.campaignId,
        advertiserId: callers.other.advertiserId,
        price: '0.25',
        urlTemplate: 'https://example.com/',
      }),
    ],
    [
      'names a list of ads',
      'POST',
      () => '/v1/links',
      () => ({ adId: [callers.own.adId, callers.other.adId] }),
    ],
    [
      'sends a prototype',
      'POST',
      () => '/v1/campaigns',
      () => `{"name":"x","__proto__":{"advertiserId":${callers.other.advertiserId}}}`,
    ],
    [
      'names two advertisers in a query',
      'GET',
      () =>
        `/v1/campaigns?advertiserId=${callers.own.advertiserId}&advertiserId=${callers.other.advertiserId}`,
      () => undefined,
    ],
    [
      'names several in one parameter',
      'GET',
      () => `/v1/campaigns?advertiserId=${callers.own.advertiserId},${callers.other.advertiserId}`,
      () => undefined,
    ],
    [
      'asks for a filter by list',
      'GET',
      () => `/v1/campaigns?advertiserIds=${callers.other.advertiserId}`,
      () => undefined,
    ],
  ];

  it.each(cases)('%s: refused', async (_, method, url, body) => {
    const answer = await send(method, url(), body());
    expect(answer.status, JSON.stringify(answer.body)).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    const { rows } = await database.pool.query(
      'select (select count(*)::int from campaign where advertiser_id = $1) as campaigns, (select count(*)::int from ad where advertiser_id = $1) as ads',
      [callers.other.advertiserId],
    );
    expect(rows[0]).toEqual({ campaigns: 1, ads: 1 });
  });

  it.each(['advertisers', 'campaigns', 'ads'])(
    'gets nothing of others with the cursor of another list of %s',
    async (list) => {
      const all = await api.send('GET', `/v1/${list}?limit=1`);
      expect(all.body.nextCursor).toEqual(expect.any(String));
      const { status, body } = await send('GET', `/v1/${list}?cursor=${all.body.nextCursor}`);
      expect(status).toBe(200);
      for (const secret of callers.other.secrets) expect(JSON.stringify(body)).not.toContain(secret);
    },
  );

  it('makes a campaign of its own with the external id of another advertiser', async () => {
    const url = ({ advertiserId }: { advertiserId: number }) =>
      `/v1/advertisers/${advertiserId}/campaigns/by-external-id/crm-7`;
    const other = await api.send('PUT', url(callers.other), { body: { name: 'Campaign of the other' } });
    const own = await send('PUT', url(callers.own), { name: 'Own campaign' });
    expect([other.status, own.status]).toEqual([201, 201]);
    expect(own.body).toMatchObject({ advertiserId: callers.own.advertiserId, name: 'Own campaign' });
    expect(own.body.id).not.toBe(other.body.id);
  });
});
