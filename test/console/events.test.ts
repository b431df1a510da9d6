import { beforeAll, describe, expect, it } from 'vitest';
import { revokeKey } from '../../ledger/api-keys.ts';
import { addBudgetEntry } from '../../ledger/budget-entries.ts';
import { rollUp } from '../../ledger/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';

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

type Event = { readonly event: string; readonly data: Record<string, unknown> };

/** Listens with a key, and collects the events until `close`. */
async function listen(key: string) {
  const stop = new AbortController();
  const response = await fetch(`${base}/v1/events`, {
    headers: { authorization: `Bearer ${key}` },
    signal: stop.signal,
  });
  const events: Event[] = [];
  const end = (async () => {
    let text = '';
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
        if (event && data) events.push({ event, data: JSON.parse(data) });
      }
    }
  })().catch(() => {});
  return { response, events, end, close: () => stop.abort() };
}

const sumOf = (events: readonly Event[], field: string) =>
  events.filter(({ event }) => event === 'clicks').reduce((sum, { data }) => sum + Number(data[field]), 0);
const budgetsOf = (events: readonly Event[]) =>
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
    const backlog = events.findLast(({ event }) => event === 'backlog');
    expect(backlog?.data).toMatchObject({ settled: 3, unsettled: 0 });
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
    await expect.poll(() => events.some(({ event }) => event === 'clicks')).toBe(true);
    await chargeBatch(database.pool, [clickRecord({ ad: mine.ad }), clickRecord({ ad: other.ad })]);
    await expect
      .poll(async () => {
        await rollUp(database.pool);
        return sumOf(events, 'charged');
      })
      .toBe(1);
    expect([...budgetsOf(events).keys()]).toEqual([mine.advertiser.id]);
    const names = events.map(({ event }) => event);
    expect(names).not.toContain('backlog');
    expect(names).not.toContain('health');
    close();
  });

  it('ends when its key is revoked', { timeout: 40_000 }, async () => {
    const key = await api.addKey({ role: 'viewer', advertiserIds: null });
    const { end } = await listen(key);
    await revokeKey(database.pool, Number(key.split('_')[1]));
    await end;
    expect((await listen(key)).response.status).toBe(401);
  });
});
