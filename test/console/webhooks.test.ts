import { describe, expect, it } from 'vitest';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { testDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { emitNumber, testConsole, testReceiver } from '../support/webhooks-fixture.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database, { WEBHOOK_PRIVATE_TARGETS: 'on' });
const publicOnly = testApi(database);

const URL_OF_TEST = 'https://example.com/hook';
const create = async (body: object = { url: URL_OF_TEST }) =>
  (await api.send('POST', '/v1/webhooks', { body })).body;

describe('POST /v1/webhooks', () => {
  it('creates a webhook and shows its secret in this answer only', async () => {
    const body = { url: URL_OF_TEST, eventTypes: ['budget.low'] };
    const answer = await api.send('POST', '/v1/webhooks', { body });
    expect(answer).toMatchObject({
      status: 201,
      body: { ...body, advertiserId: null, status: 'active', failingSince: null, retryAt: null },
    });
    const { secret, ...rest } = answer.body;
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const got = await api.send('GET', String(answer.headers.location));
    expect(got.body).toEqual(rest);
    expect(got.headers.etag).toBe(answer.headers.etag);
  });

  it.each([
    [{ url: 'http://example.com/' }, 400, 'bad_url'],
    [{ url: 'https://10.0.0.1/' }, 400, 'bad_url'],
    [{ url: 'https://me:pw@example.com/' }, 400, 'bad_url'],
    [{ url: URL_OF_TEST, eventTypes: ['nope'] }, 400, 'bad_request'],
    [{ url: URL_OF_TEST, advertiserId: 999_999 }, 404, 'unknown_advertiser'],
    [{ url: URL_OF_TEST, secret: 'mine' }, 400, 'bad_request'],
    [{}, 400, 'bad_request'],
  ])('refuses %j', async (body, status, code) => {
    expect(await publicOnly.send('POST', '/v1/webhooks', { body })).toMatchObject({ status, body: { code } });
  });

  it('needs an advertiser of a key that is restricted to some', async () => {
    const { id } = await addAdvertiser(database.pool, 'one', 'USD');
    const key = await api.addKey({ role: 'manager', advertiserIds: [id], expiresAt: null });
    const post = (body: object) => api.send('POST', '/v1/webhooks', { key, body });
    expect(await post({ url: URL_OF_TEST })).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await post({ url: URL_OF_TEST, advertiserId: id })).toMatchObject({ status: 201 });
    const { body } = await api.send('GET', '/v1/webhooks', { key });
    expect(body.items).toMatchObject([{ advertiserId: id }]);
  });

  it('creates at most twenty for an advertiser; archived ones do not count until they are put back', async () => {
    const { id: advertiserId } = await addAdvertiser(database.pool, 'one', 'USD');
    const post = () => api.send('POST', '/v1/webhooks', { body: { url: URL_OF_TEST, advertiserId } });
    const created = [];
    for (let count = 0; count < 20; count += 1) created.push(await post());
    expect(created.map(({ status }) => status)).toEqual(Array(20).fill(201));
    const refused = { status: 409, body: { code: 'too_many_webhooks' } };
    expect(await post()).toMatchObject(refused);
    const path = `/v1/webhooks/${created[0]?.body.id}`;
    const patch = async (status: string) => {
      const etag = String((await api.send('GET', path)).headers.etag);
      return api.send('PATCH', path, { body: { status }, headers: { 'if-match': etag } });
    };
    expect(await patch('archived')).toMatchObject({ status: 200 });
    expect(await post()).toMatchObject({ status: 201 });
    expect(await patch('active')).toMatchObject(refused);
    expect(await patch('archived')).toMatchObject({ status: 200 });
  });

  it('creates one webhook for a repeated request', async () => {
    const request = { body: { url: URL_OF_TEST }, headers: { 'idempotency-key': 'k1' } };
    const [first, again] = [
      await api.send('POST', '/v1/webhooks', request),
      await api.send('POST', '/v1/webhooks', request),
    ];
    expect(again.body).toEqual(first.body);
  });
});

describe('PATCH and DELETE /v1/webhooks/{webhookId}', () => {
  it('change and archive a webhook', async () => {
    const { id } = await create();
    const url = `/v1/webhooks/${id}`;
    const { headers } = await api.send('GET', url);
    const ifMatch = { 'if-match': String(headers.etag) };
    const changed = await api.send('PATCH', url, {
      body: { url: 'http://127.0.0.1/', status: 'paused' },
      headers: ifMatch,
    });
    expect(changed).toMatchObject({
      status: 200,
      body: { url: 'http://127.0.0.1/', status: 'paused', eventTypes: [] },
    });
    const stale = await api.send('PATCH', url, { body: { status: 'active' }, headers: ifMatch });
    expect(stale).toMatchObject({ status: 412, body: { code: 'stale_etag' } });
    expect(await api.send('POST', `${url}/test`)).toMatchObject({
      status: 409,
      body: { code: 'webhook_not_active' },
    });
    expect(await api.send('DELETE', url)).toMatchObject({ status: 200, body: { status: 'archived' } });
    const { body } = await api.send('GET', '/v1/webhooks');
    expect(body.items.some((one: { id: number }) => one.id === id)).toBe(false);
    expect(await api.send('PATCH', '/v1/webhooks/999999', { body: {} })).toMatchObject({ status: 404 });
  });

  it('rotate a secret', async () => {
    const { id, secret } = await create();
    const { status, body } = await api.send('POST', `/v1/webhooks/${id}/rotate-secret`);
    expect(status).toBe(200);
    expect(body.secret).toMatch(/^whsec_/);
    expect(body.secret).not.toBe(secret);
    expect(Date.parse(body.previousSecretUntil) - Date.now()).toBeGreaterThan(86_000_000);
  });
});

describe('GET /v1/webhook-events', () => {
  it('shows a restricted key the events of its advertisers, and none of the whole installation', async () => {
    const { id: own } = await addAdvertiser(database.pool, 'own', 'USD');
    const { id: other } = await addAdvertiser(database.pool, 'other', 'USD');
    for (const advertiserId of [null, own, other]) await emitNumber(database.pool, advertiserId, 1);
    const seenBy = async (key: string, query = '') => {
      const { body } = await api.send('GET', `/v1/webhook-events${query}`, { key });
      return body.items.map(({ advertiserId }: { advertiserId: number | null }) => advertiserId);
    };
    const key = await api.addKey({ role: 'manager', advertiserIds: [own], expiresAt: null });
    expect(await seenBy(key)).toEqual([own]);
    expect(await seenBy(key, `?advertiserId=${own}`)).toEqual([own]);
    expect((await seenBy(api.adminKey)).slice(0, 3)).toEqual([other, own, null]);
  });
});

describe('deliveries', () => {
  it('are listed with their attempts, in pages, and replayed', async () => {
    const receiver = await testReceiver();
    const { id: advertiserId } = await addAdvertiser(database.pool, 'one', 'USD');
    const { id } = await create({ url: receiver.url, advertiserId });
    testConsole(database);
    const test = await api.send('POST', `/v1/webhooks/${id}/test`);
    expect(test.status).toBe(202);
    for (const number of [1, 2]) await emitNumber(database.pool, advertiserId, number);
    const url = `/v1/webhooks/${id}/deliveries`;
    const { body } = await until('all deliveries', async () => {
      const answer = await api.send('GET', `${url}?status=delivered&limit=2`);
      return answer.body.nextCursor === null ? null : answer;
    });
    const next = await api.send('GET', `${url}?limit=2&cursor=${body.nextCursor}`);
    expect(next.body.nextCursor).toBeNull();
    const all = [...body.items, ...next.body.items];
    expect(all.map(({ eventType }) => eventType)).toEqual([
      'dead_letters.waiting',
      'dead_letters.waiting',
      'webhook.test',
    ]);
    expect(all[2]).toMatchObject({
      eventId: test.body.eventId,
      advertiserId,
      advertiserName: 'one',
      data: { webhookId: id },
      status: 'delivered',
      attempts: 1,
      nextAttemptAt: null,
    });
    const attempts = await api.send('GET', `${url}/${test.body.eventId}/attempts`);
    expect(attempts.body.items).toMatchObject([{ statusCode: 204, error: null }]);
    expect(await api.send('POST', `${url}/${test.body.eventId}/replay`)).toMatchObject({
      status: 202,
      body: { queued: 1 },
    });
    await until('the event again', () => receiver.received.length === 4);
    expect(await api.send('POST', `${url}/999999/replay`)).toMatchObject({
      status: 404,
      body: { code: 'unknown_delivery' },
    });
    const failed = await api.send('POST', `/v1/webhooks/${id}/replay-failed`, {
      body: { since: '2026-01-01T00:00:00Z' },
    });
    expect(failed).toMatchObject({ status: 202, body: { queued: 0 } });
    const events = await api.send('GET', `/v1/webhook-events?advertiserId=${advertiserId}`);
    expect(events.body.items.map(({ data }: { data: object }) => data)).toEqual([
      { count: 2 },
      { count: 1 },
      { webhookId: id },
    ]);
  });
});
