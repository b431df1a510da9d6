import { describe, expect, it } from 'vitest';
import { addAccount, testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

/** The URL of the budget entries of a new advertiser with an empty budget. */
async function newBudget(): Promise<string> {
  const { advertiser } = await addAccount(database.pool, { budget: '0' });
  return `/v1/advertisers/${advertiser.id}/budget-entries`;
}

describe('POST /v1/advertisers/{advertiserId}/budget-entries', () => {
  it('tops a budget up once for each reference', async () => {
    const url = await newBudget();
    const body = { amount: '12.5', reference: 'payment 1' };
    const first = await api.send('POST', url, { body });
    expect(first).toMatchObject({
      status: 201,
      body: {
        added: true,
        entry: { kind: 'top_up', amount: '12.50', currency: 'USD', reference: 'payment 1', clickId: null },
        advertiser: { budget: '12.50', remaining: '12.50' },
      },
    });
    const again = await api.send('POST', url, { body });
    expect(again).toMatchObject({ status: 200, body: { added: false, entry: first.body.entry } });
    expect(again.body.advertiser.budget).toBe('12.50');
  });

  it('refuses a reference that another amount has used', async () => {
    const url = await newBudget();
    await api.send('POST', url, { body: { amount: '1', reference: 'r' } });
    await api.send('POST', url, { body: { kind: 'adjustment', amount: '-1', reference: 'a' } });
    for (const [reference, used] of [
      ['r', 'a top-up of 1.00 USD'],
      ['a', 'an adjustment of -1.00 USD'],
    ])
      expect(await api.send('POST', url, { body: { amount: '2', reference } })).toMatchObject({
        status: 409,
        body: { code: 'reference_taken', detail: `Reference "${reference}" was already used for ${used}` },
      });
  });

  it('adjusts a budget down to what remains', async () => {
    const url = await newBudget();
    await api.send('POST', url, { body: { amount: '10' } });
    const adjust = (amount: string) => api.send('POST', url, { body: { kind: 'adjustment', amount } });
    expect(await adjust('-10.000001')).toMatchObject({ status: 422, body: { code: 'not_enough_budget' } });
    expect(await adjust('-10')).toMatchObject({ status: 201, body: { advertiser: { remaining: '0.00' } } });
  });

  it.each([
    ['0', 'Expected a top-up above 0, got 0.00'],
    ['-5', 'Expected a top-up above 0, got -5.00'],
    [5, 'body/amount: Expected a string, got 5'],
    ['1e3', 'body/amount: Expected an amount such as 12.50 (at most 6 decimals), got "1e3"'],
    ['0.0000001', 'body/amount: Expected an amount such as 12.50 (at most 6 decimals), got "0.0000001"'],
    ['100,00', 'body/amount: Expected an amount with a point and no comma, such as 12.50, got "100,00"'],
    ['1000000000.01', 'body/amount: Expected an amount of at most 1000000000, got "1000000000.01"'],
    ['9'.repeat(41), expect.stringContaining('body/amount: Expected an amount such as 12.50')],
  ])('refuses the amount %j', async (amount, detail) => {
    expect(await api.send('POST', await newBudget(), { body: { amount } })).toMatchObject({
      status: 400,
      body: { detail },
    });
  });

  it('is not for a key of another advertiser, as if the advertiser did not exist', async () => {
    const { advertiser } = await addAccount(database.pool);
    const key = await api.addKey({ role: 'finance', advertiserIds: [advertiser.id] });
    const own = `/v1/advertisers/${advertiser.id}/budget-entries`;
    expect((await api.send('POST', own, { key, body: { amount: '1' } })).status).toBe(201);
    const answer = await api.send('POST', await newBudget(), { key, body: { amount: '1' } });
    expect(answer).toMatchObject({ status: 404, body: { code: 'unknown_advertiser' } });
  });
});

describe('GET /v1/advertisers/{advertiserId}/budget-entries', () => {
  it('returns pages, oldest first', async () => {
    const url = await newBudget();
    for (const amount of ['1', '2', '3']) await api.send('POST', url, { body: { amount } });
    const first = (await api.send('GET', `${url}?limit=2`)).body;
    expect(first.items.map((entry: { amount: string }) => entry.amount)).toEqual(['1.00', '2.00']);
    const second = (await api.send('GET', `${url}?limit=2&cursor=${first.nextCursor}`)).body;
    expect(second).toMatchObject({ items: [{ amount: '3.00' }], nextCursor: null });
    expect(second.items[0].createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('returns pages, newest first, if asked for', async () => {
    const url = `${await newBudget()}?newestFirst=true&limit=2`;
    for (const amount of ['1', '2', '3'])
      await api.send('POST', url.replace(/\?.*/, ''), { body: { amount } });
    const first = (await api.send('GET', url)).body;
    expect(first.items.map((entry: { amount: string }) => entry.amount)).toEqual(['3.00', '2.00']);
    const second = (await api.send('GET', `${url}&cursor=${first.nextCursor}`)).body;
    expect(second).toMatchObject({ items: [{ amount: '1.00' }], nextCursor: null });
  });

  it('knows no advertiser that does not exist', async () => {
    const answer = await api.send('GET', '/v1/advertisers/999999/budget-entries');
    expect(answer).toMatchObject({ status: 404, body: { code: 'unknown_advertiser' } });
  });
});
