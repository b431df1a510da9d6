import { beforeAll, describe, expect, it } from 'vitest';
import { revokeKey } from '../../ledger/access/api-keys.ts';
import { addAdvertiser, setAdvertiserStatus } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { storeReconciliation } from '../../ledger/reconciliation/latest-reconciliation.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';
import { listenLive, type ReceivedEvent, sumOfClicks } from './live-listener.ts';
import { addOwner } from './owners.ts';
import { logIn, OWN_PAGE, sendAs } from './session-client.ts';

const database = testDatabase();
/** Nothing listens on these ports. */
const api = testApi(database, { AD_SERVER_OPS_PORT: '1', PROCESSOR_OPS_PORT: '2' });
let base = '';
let mine: Account;
let other: Account;

beforeAll(async () => {
  base = await api.app.listen({ port: 0, host: '127.0.0.1' });
  mine = await addAccount(database.pool);
  other = await addAccount(database.pool);
});

const listen = (caller: Parameters<typeof listenLive>[1]) => listenLive(base, caller);
const sumOf = sumOfClicks;
const budgetsOf = (events: readonly ReceivedEvent[]) =>
  new Map(
    events
      .filter(({ event }) => event === 'budgets')
      .flatMap(({ data }) => data as unknown as { advertiserId: number; remaining: string }[])
      .map(({ advertiserId, remaining }) => [advertiserId, remaining]),
  );

describe('GET /v1/events', () => {
  it('streams settled clicks, budgets that change, and the backlog', async () => {
    const { response, events, close } = await listen(api.adminKey);
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    await expect.poll(() => budgetsOf(events).size).toBe(2);
    await expect
      .poll(() => sumOf(events, 'charged') === 0 && events.some(({ event }) => event === 'clicks'))
      .toBe(true);
    // Without a click yet, so that the page does not wait for the list.
    expect(events.find(({ event }) => event === 'latest')?.data).toEqual([]);
    await chargeBatch(database.pool, [
      clickRecord({ ad: mine.ad }),
      clickRecord({ ad: mine.ad }),
      clickRecord({ ad: other.ad, invalid: 'bot' }),
    ]);
    await expect.poll(() => sumOf(events, 'charged')).toBe(2);
    await expect.poll(() => sumOf(events, 'invalid')).toBe(1);
    await expect.poll(() => budgetsOf(events).get(mine.advertiser.id)).toBe('99.50');
    await addBudgetEntry(database.pool, other.advertiser.id, 'top_up', 1_000_000n);
    await expect.poll(() => budgetsOf(events).get(other.advertiser.id)).toBe('101.00');
    await expect
      .poll(() => events.findLast(({ event }) => event === 'flow')?.data)
      .toMatchObject({ settled: 3, spoolOldestSeconds: null, brokerOldestSeconds: 0 });
    const health = events.find(({ event }) => event === 'health');
    expect(health?.data).toEqual({
      adServer: 'does not answer',
      processor: 'does not answer',
      database: 'ready',
    });
    close();
  });

  it('shows a restricted key its advertisers alone', async () => {
    const key = await api.addKey({ role: 'viewer', advertiserIds: [mine.advertiser.id] });
    // What was settled before must not count.
    await rollUp(database.pool);
    const { events, close } = await listen(key);
    await expect.poll(() => budgetsOf(events).size).toBe(1);
    await expect.poll(() => events.some(({ event }) => event === 'alive')).toBe(true);
    await chargeBatch(database.pool, [clickRecord({ ad: mine.ad }), clickRecord({ ad: other.ad })]);
    await expect
      .poll(async () => {
        await rollUp(database.pool);
        return sumOf(events, 'charged');
      })
      .toBe(1);
    expect([...budgetsOf(events).keys()]).toEqual([mine.advertiser.id]);
    const names = events.map(({ event }) => event);
    expect(names).not.toContain('flow');
    expect(names).not.toContain('health');
    close();
  });

  it('streams reasons, top, the latest clicks and the stored reconciliation', async () => {
    await chargeBatch(database.pool, [
      clickRecord({ ad: mine.ad, publisher: 'news' }),
      clickRecord({ ad: mine.ad, invalid: 'bot' }),
    ]);
    await rollUp(database.pool);
    const result = await reconcile(database.pool, { brokers: [] });
    await storeReconciliation(database.pool, result, { hasBroker: true, durationMs: 1 });
    const { events, close } = await listen(api.adminKey);
    const latestOf = (name: string) => events.findLast(({ event }) => event === name)?.data;
    await expect.poll(() => latestOf('books')).toMatchObject({ balanced: true, missing: 0, problems: [] });
    expect(latestOf('reasons')).toMatchObject({
      since: expect.any(String),
      rows: expect.arrayContaining([{ outcome: 'invalid', reason: 'bot', clicks: expect.any(Number) }]),
    });
    expect(latestOf('top')).toMatchObject({
      ads: expect.arrayContaining([
        expect.objectContaining({ adId: mine.ad.id, advertiserName: 'Test advertiser', currency: 'USD' }),
      ]),
      publishers: expect.arrayContaining([
        expect.objectContaining({ publisher: 'news', charged: '0.25', clicks: 1 }),
      ]),
    });
    const latest = latestOf('latest') as unknown as { price: string | null; outcome: string }[];
    expect(latest.find(({ outcome }) => outcome === 'charged')).toMatchObject({ price: '0.25' });
    expect(latest.find(({ outcome }) => outcome === 'invalid')).toMatchObject({ price: null });
    expect(latestOf('problems')).toContainEqual({
      ...{ code: 'TollwayPartAbsent', severity: 'page', summary: 'No ad server runs', since: null },
      runbook: '#tollwaypartabsent',
    });
    expect(latestOf('flow')).toMatchObject({ clickToChargeSeconds: expect.any(Number) });
    // A listener that joins gets all of this at once.
    const joined = await listen(api.adminKey);
    await expect
      .poll(() => new Set(joined.events.map(({ event }) => event)), { timeout: 900 })
      .toEqual(new Set(['budgets', 'health', 'latest', 'flow', 'reasons', 'top', 'books', 'problems']));
    joined.close();
    close();
  });

  it('tells that an advertiser was archived', async () => {
    const { advertiser } = await addAccount(database.pool);
    const { events, close } = await listen(api.adminKey);
    const statusOf = () =>
      events
        .filter(({ event }) => event === 'budgets')
        .flatMap(({ data }) => data as unknown as { advertiserId: number; status: string }[])
        .findLast(({ advertiserId }) => advertiserId === advertiser.id)?.status;
    await expect.poll(statusOf).toBe('active');
    await setAdvertiserStatus(database.pool, advertiser.id, 'archived');
    await expect.poll(statusOf).toBe('archived');
    close();
  });

  it('has nothing of other advertisers for a restricted key, in any event', { timeout: 20_000 }, async () => {
    const hidden = await addOwner(database.pool, 'zzhidden', 50_000, '130901');
    const key = await api.addKey({ role: 'viewer', advertiserIds: [mine.advertiser.id] });
    const { events, close } = await listen(key);
    await expect.poll(() => budgetsOf(events).size).toBe(1);
    await chargeBatch(database.pool, [clickRecord({ ad: mine.ad, publisher: 'mine' })]);
    await rollUp(database.pool);
    const mentions = () => events.filter(({ data }) => JSON.stringify(data).includes('"publisher":"mine"'));
    await expect
      .poll(() => new Set(mentions().map(({ event }) => event)), { timeout: 15_000 })
      .toEqual(new Set(['top', 'latest']));
    const names = new Set(events.map(({ event }) => event));
    expect([...names].sort()).toEqual(['alive', 'budgets', 'clicks', 'latest', 'reasons', 'top']);
    const text = JSON.stringify(events);
    for (const secret of [
      ...hidden.secrets,
      String(hidden.adId),
      String(hidden.advertiserId),
      hidden.clickId,
    ])
      expect(text).not.toContain(secret);
    expect(text).not.toContain('"outcome":"rejected"');
    close();
  });

  it('ends when the browser logs out, and is open to sessions of pages of the console alone', {
    timeout: 40_000,
  }, async () => {
    const cookie = await logIn(api, await api.addKey({ role: 'viewer' }));
    const { response, events, end } = await listen({ cookie, 'sec-fetch-site': 'same-origin' });
    expect(response.status).toBe(200);
    await expect.poll(() => budgetsOf(events).size).toBeGreaterThan(0);
    expect((await listen({ cookie, 'sec-fetch-site': 'same-site' })).response.status).toBe(403);
    await sendAs(api, 'DELETE', '/v1/session', { headers: { cookie, ...OWN_PAGE } });
    await end;
    expect((await listen({ cookie })).response.status).toBe(401);
  });

  it('is open at most 10 times for one restricted key and its sessions', async () => {
    const { id } = await addAdvertiser(database.pool, 'Ten streams', 'USD');
    const key = await api.addKey({ role: 'viewer', advertiserIds: [id] });
    const cookie = await logIn(api, key);
    const open = await Promise.all(Array.from({ length: 10 }, () => listen(key)));
    expect(open.map(({ response }) => response.status)).toEqual(Array(10).fill(200));
    expect(await api.send('GET', '/v1/events', { key })).toMatchObject({
      ...{ status: 503, headers: { 'retry-after': '1' } },
      body: { code: 'busy', detail: expect.stringContaining('at most 10 streams of events of one key') },
    });
    expect((await listen({ cookie, ...OWN_PAGE })).response.status).toBe(503);
    const other = await listen(api.adminKey);
    expect(other.response.status).toBe(200);
    open[0]?.close();
    await expect
      .poll(async () => {
        const again = await listen(key);
        again.close();
        return again.response.status;
      })
      .toBe(200);
    for (const { close } of [...open, other]) close();
  });

  it('ends when its key is revoked', { timeout: 40_000 }, async () => {
    const key = await api.addKey({ role: 'viewer', advertiserIds: null });
    const { end } = await listen(key);
    await revokeKey(database.pool, Number(key.split('_')[1]));
    await end;
    expect((await listen(key)).response.status).toBe(401);
  });
});
