import { describe, expect, it } from 'vitest';
import { addAccount, testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

/** A function that tops up the budget of a new advertiser. */
async function newTopUp() {
  const { advertiser } = await addAccount(database.pool, { budget: '0' });
  const url = `/v1/advertisers/${advertiser.id}/budget-entries`;
  return {
    url,
    topUp: (key: string, amount = '5', more: { key?: string } = {}) =>
      api.send('POST', url, { headers: { 'idempotency-key': key }, body: { amount }, ...more }),
    entries: async () => (await api.send('GET', url)).body.items.length as number,
  };
}

describe('a POST with an Idempotency-Key', () => {
  it('gets the same answer again, and changes nothing', async () => {
    const { topUp, entries } = await newTopUp();
    const first = await topUp('a');
    expect(first.status).toBe(201);
    expect(first.headers).not.toHaveProperty('idempotency-replayed');
    const again = await topUp('a');
    expect(again).toMatchObject({
      status: 201,
      body: first.body,
      headers: { 'idempotency-replayed': 'true', 'content-type': 'application/json; charset=utf-8' },
    });
    expect(await entries()).toBe(1);
  });

  it('gets the headers of the first answer too', async () => {
    const create = () =>
      api.send('POST', '/v1/advertisers', { headers: { 'idempotency-key': 'new' }, body: { name: 'New' } });
    const [first, again] = [await create(), await create()];
    expect(first.headers.location).toBe(`/v1/advertisers/${first.body.id}`);
    for (const name of ['location', 'etag']) expect(again.headers[name]).toBe(first.headers[name]);
  });

  it('is carried out once if it is sent many times at once', async () => {
    const { topUp, entries } = await newTopUp();
    const answers = await Promise.all(Array.from({ length: 8 }, () => topUp('once')));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(201));
    expect(new Set(answers.map(({ body }) => body.entry.id)).size).toBe(1);
    expect(answers.filter(({ headers }) => headers['idempotency-replayed']).length).toBe(7);
    expect(await entries()).toBe(1);
  });

  it('is refused if another request has used the key', async () => {
    const { topUp, entries } = await newTopUp();
    await topUp('b', '5');
    expect(await topUp('b', '6')).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
    const other = await newTopUp();
    expect((await other.topUp('b', '5')).status).toBe(409);
    expect(await entries()).toBe(1);
  });

  it('shares its key with no other API key', async () => {
    const { topUp, entries } = await newTopUp();
    const key = await api.addKey({ role: 'finance' });
    expect((await topUp('c')).status).toBe(201);
    expect((await topUp('c', '5', { key })).headers).not.toHaveProperty('idempotency-replayed');
    expect(await entries()).toBe(2);
  });

  it('is not stored if it fails', async () => {
    const { topUp, entries } = await newTopUp();
    expect((await topUp('d', '-5')).status).toBe(400);
    expect((await topUp('d', '5')).status).toBe(201);
    expect(await entries()).toBe(1);
  });

  it('is carried out again after 24 hours', async () => {
    const { topUp, entries } = await newTopUp();
    const age = (hours: number) =>
      database.pool.query(
        `update api_answer set created_at = now() - interval '${hours} hours' where idempotency_key = 'e'`,
      );
    await topUp('e');
    await age(23.9);
    expect((await topUp('e')).headers).toHaveProperty('idempotency-replayed');
    await age(24.1);
    expect((await topUp('e', '7')).status).toBe(201);
    expect(await entries()).toBe(2);
    expect((await topUp('e', '7')).headers).toHaveProperty('idempotency-replayed');
  });

  it('is carried out once more if it is sent many times at once after 24 hours', async () => {
    const { topUp, entries } = await newTopUp();
    await topUp('f');
    await database.pool.query(
      "update api_answer set created_at = now() - interval '25 hours' where idempotency_key = 'f'",
    );
    const answers = await Promise.all(Array.from({ length: 8 }, () => topUp('f', '7')));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(201));
    expect(answers.filter(({ headers }) => headers['idempotency-replayed']).length).toBe(7);
    expect(await entries()).toBe(2);
  });

  it.each(['', ' ', 'ä', 'x'.repeat(256)])('is refused with the key %j', async (key) => {
    const { topUp } = await newTopUp();
    expect(await topUp(key)).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining('Idempotency-Key: expected one header of 1–255') },
    });
  });
});
