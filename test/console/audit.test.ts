import { beforeAll, describe, expect, it } from 'vitest';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);
let mine = 0;
let other = 0;
let restricted = '';

beforeAll(async () => {
  const create = async (name: string) =>
    (await api.send('POST', '/v1/advertisers', { body: { name } })).body.id as number;
  mine = await create('Mine');
  other = await create('Other');
  await api.send('PATCH', `/v1/advertisers/${mine}`, { body: { name: 'Renamed' } });
  await api.send('POST', `/v1/advertisers/${mine}/budget-entries`, {
    body: { amount: '5.00', reference: 'r1' },
  });
  restricted = await api.addKey({ role: 'viewer', advertiserIds: [mine] });
});

describe('GET /v1/audit', () => {
  it('tells who changed what, newest first, in pages', async () => {
    const url = `/v1/audit?advertiserId=${mine}&limit=2`;
    const first = (await api.send('GET', url)).body;
    const second = (await api.send('GET', `${url}&cursor=${first.nextCursor}`)).body;
    expect(second.nextCursor).toBeNull();
    const entries = [...first.items, ...second.items];
    expect(entries.map(({ action }) => action)).toEqual([
      'budget_entry.create',
      'advertiser.update',
      'advertiser.create',
    ]);
    expect(entries[1]).toMatchObject({
      actorType: 'key',
      actorName: 'Test key',
      actorRole: 'admin',
      subject: String(mine),
      before: { name: 'Mine' },
      after: { name: 'Renamed' },
    });
    expect(entries[0].after).toMatchObject({ amount: '5.00', reference: 'r1' });
  });

  it('shows a restricted key the changes of its advertisers alone', async () => {
    const { body } = await api.send('GET', '/v1/audit', { key: restricted });
    expect(new Set(body.items.map(({ advertiserId }: { advertiserId: number }) => advertiserId))).toEqual(
      new Set([mine]),
    );
    const [hidden, unknown] = await Promise.all(
      [other, 2_000_000_000].map((id) =>
        api.send('GET', `/v1/audit?advertiserId=${id}`, { key: restricted }),
      ),
    );
    expect(hidden?.status).toBe(404);
    expect(JSON.stringify(hidden?.body)).toBe(
      JSON.stringify(unknown?.body).replace('2000000000', String(other)),
    );
  });

  it('finds the changes of one action', async () => {
    const { body } = await api.send('GET', '/v1/audit?action=advertiser.create');
    expect(body.items).toHaveLength(2);
  });
});

describe('GET /v1/exports/audit', () => {
  it('streams the same, oldest first', async () => {
    const get = () =>
      api.app.inject({
        url: '/v1/exports/audit?format=csv',
        headers: { authorization: `Bearer ${restricted}` },
      });
    await expect.poll(async () => (await get()).body.trim().split('\n').length).toBe(4);
    const { body, headers } = await get();
    expect(body.split('\n')[0]).toMatch(/^id,at,actorType,/);
    expect(body.split('\n')[1]).toContain('advertiser.create');
    expect(Date.parse(String(headers['tollway-until']))).toBeLessThanOrEqual(Date.now());
  });
});

describe('the URL of a webhook', () => {
  it('which can contain a secret, is shown whole only to keys that manage webhooks', async () => {
    const { id } = (await api.send('POST', '/v1/advertisers', { body: { name: 'Hooked' } })).body;
    const url = 'https://example.com/hook/secret?token=secret';
    const { body: webhook } = await api.send('POST', '/v1/webhooks', { body: { url, advertiserId: id } });
    await api.send('PATCH', `/v1/webhooks/${webhook.id}`, { body: { url: `${url}2` } });
    const seenBy = async (role: 'viewer' | 'manager') => {
      const key = await api.addKey({ role, advertiserIds: [id] });
      const { body } = await api.send('GET', '/v1/audit?action=webhook', { key });
      const { body: file } = await api.app.inject({
        url: '/v1/exports/audit?action=webhook',
        headers: { authorization: `Bearer ${key}` },
      });
      return { urls: body.items.map(({ after }: { after: { url: string } }) => after.url), file };
    };
    expect((await seenBy('manager')).urls).toEqual([`${url}2`, url]);
    const { urls, file } = await seenBy('viewer');
    expect(urls).toEqual(Array(2).fill('https://example.com/…'));
    expect(file).toContain('webhook.create');
    expect(file).not.toContain('secret');
  });
});
