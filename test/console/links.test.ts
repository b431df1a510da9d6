import { beforeAll, describe, expect, it } from 'vitest';
import { formatLinkKeys } from '../../common/config/link-keys.ts';
import { createVerifier } from '../../contract/link-token.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { DAY_MS, k1 } from '../support/link-samples.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database, {
  LINK_KEYS: formatLinkKeys([k1]),
  PUBLIC_URL: 'https://ads.example.com',
  LINK_LIFE_MAX_DAYS: '60',
});
const verify = createVerifier([k1], 60 * DAY_MS);
const tokenOf = (url: string) => url.slice('https://ads.example.com/c/'.length);

let account: Account;
beforeAll(async () => {
  account = await addAccount(database.pool);
});

const make = (body: object = {}, headers: Record<string, string> = {}) =>
  api.send('POST', '/v1/links', { headers, body: { adId: account.ad.id, ...body } });

describe('POST /v1/links', () => {
  it.each([
    [{}, 1, { publisher: null, nonce: expect.any(String) }],
    [{ count: 1_000, publisher: 'example-news' }, 1_000, { publisher: 'example-news' }],
    [{ evergreen: true, publisher: null }, 1, { nonce: null, expiresAt: null }],
  ])('makes links for %j', async (body, count, expected) => {
    const answer = await make(body);
    expect(answer.status).toBe(200);
    const links: string[] = answer.body.links;
    expect(new Set(links).size).toBe(count);
    for (const link of links)
      expect(verify(tokenOf(link))).toMatchObject({ adId: account.ad.id, ...expected });
  });

  it('makes links with the life that is asked for', async () => {
    const { links } = (await make({ expiresIn: '12h' })).body;
    const expiresAt = verify(tokenOf(links[0]))?.expiresAt ?? 0;
    expect(Math.abs(expiresAt - Date.now() - DAY_MS / 2)).toBeLessThan(60_000);
  });

  it('gives the same links to a repeated request', async () => {
    const headers = { 'idempotency-key': 'links-1' };
    const first = await make({ count: 3 }, headers);
    expect((await make({ count: 3 }, headers)).body).toEqual(first.body);
    expect((await make({ count: 4 }, headers)).status).toBe(409);
    expect((await make({ count: 3 })).body).not.toEqual(first.body);
  });

  it.each([
    [{ count: 0 }, 400, 'bad_request', 'body/count: Expected at least 1, got 0'],
    [{ count: 10_001 }, 400, 'bad_request', 'body/count: Expected at most 10000, got 10001'],
    [{ count: '5' }, 400, 'bad_request', 'body/count: Expected a number, got "5"'],
    [{ expiresIn: '1y' }, 400, 'bad_request', 'body/expiresIn: Expected a length of time'],
    [{ expiresIn: '61d' }, 400, 'bad_duration', 'Expected a life of at most 60d'],
    [{ evergreen: true, expiresIn: '1d' }, 400, 'bad_options', 'never expires'],
    [{ publisher: 'a b' }, 400, 'bad_request', 'body/publisher: Expected a publisher'],
    [{ adId: 2_000_000_000 }, 404, 'unknown_ad', 'got 2000000000'],
    [{ url: 'https://example.com/' }, 400, 'bad_request', 'body/url: Expected no value of this name'],
  ])('refuses %j', async (body, status, code, detail) => {
    expect(await make(body)).toMatchObject({
      status,
      body: { code, detail: expect.stringContaining(detail) },
    });
  });

  it('makes no links to the ads of other advertisers than those of the key', async () => {
    const own = await addAccount(database.pool);
    const key = await api.addKey({ role: 'manager', advertiserIds: [own.advertiser.id] });
    const answerFor = async (adId: number) => {
      const { status, body } = await api.send('POST', '/v1/links', { key, body: { adId } });
      return { status, text: JSON.stringify(body).replaceAll(`got ${adId}`, 'got <id>') };
    };
    expect(await answerFor(account.ad.id)).toEqual(await answerFor(2_000_000_000));
    expect((await answerFor(own.ad.id)).status).toBe(200);
  });
});

describe('a console without keys that sign', () => {
  const keyless = testApi(database);
  it('makes no links', async () => {
    const answer = await keyless.send('POST', '/v1/links', { body: { adId: account.ad.id } });
    expect(answer).toMatchObject({ status: 503, body: { code: 'no_signing_key' } });
  });
});
