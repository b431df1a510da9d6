import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import type { App } from '../../console/api/deps.ts';
import { createConsolePool } from '../../console/serve.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { stepSystemClock } from '../support/clock-step.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord } from '../support/records.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { listenLive, type ReceivedEvent, sumOfClicks } from './live-listener.ts';

const HOUR_MS = 3_600_000;

const database = testDatabase();
let proxy: TcpProxy;
let pool: Pool;
let app: App;
let base = '';
let account: Account;
let adminKey = '';
let ownKey = '';

beforeAll(async () => {
  proxy = await startTcpProxy(database.url);
  pool = createConsolePool(proxy.url, silent);
  app = await createApp({
    pool,
    longPool: pool,
    config: parseConfig({}),
    metrics: createMetrics(),
    logger: silent,
  });
  base = await app.listen({ port: 0, host: '127.0.0.1' });
  account = await addAccount(database.pool);
  adminKey = (await createKey(database.pool, { name: 'Test key', role: 'admin' })).key;
  const terms = { name: 'Own key', role: 'viewer', advertiserIds: [account.advertiser.id] } as const;
  ownKey = (await createKey(database.pool, terms)).key;
});
afterAll(async () => {
  await app.close();
  await pool.end();
  await proxy.close();
});

const charge = () => chargeBatch(database.pool, [clickRecord({ ad: account.ad })]);
const counted = (events: readonly ReceivedEvent[]) => sumOfClicks(events, 'charged');
const isStale = (events: readonly ReceivedEvent[]) => events.at(-1)?.event === 'stale';

describe('live events while the database is away', () => {
  const AWAY = [
    ['freezes', () => proxy.freeze(), () => proxy.thaw()],
    ['is cut off', () => proxy.cut(), () => proxy.restore()],
  ] as const;

  it.each(AWAY)('and %s are stale, and go on by themselves', { timeout: 40_000 }, async (_, leave, back) => {
    const { events, close } = await listenLive(base, adminKey);
    await expect.poll(() => events.some(({ event }) => event === 'clicks'), { timeout: 10_000 }).toBe(true);
    const asOf = events.findLast(({ event }) => event === 'clicks')?.data.asOf;
    await leave();
    const leftAt = performance.now();
    await expect.poll(() => isStale(events), { timeout: 10_000 }).toBe(true);
    expect(performance.now() - leftAt).toBeLessThan(6_000);
    const stale = events.at(-1)?.data as { asOf: string };
    expect(Date.parse(stale.asOf)).toBeGreaterThanOrEqual(Date.parse(String(asOf)));
    const before = counted(events);
    await charge();
    await back();
    // What was settled meanwhile is counted once.
    await expect.poll(() => counted(events) - before, { timeout: 15_000 }).toBe(1);
    await expect.poll(() => isStale(events)).toBe(false);
    close();
  });
});

describe('a system clock that steps', () => {
  it.each([-HOUR_MS, HOUR_MS])(
    'by %i ms changes no count and no interval',
    { timeout: 40_000 },
    async (step) => {
      // What was settled before must not count.
      await rollUp(database.pool);
      const [all, own] = [await listenLive(base, adminKey), await listenLive(base, ownKey)];
      const hasBegun = (events: readonly ReceivedEvent[]) => events.some(({ event }) => event === 'budgets');
      await expect.poll(() => hasBegun(all.events) && hasBegun(own.events), { timeout: 10_000 }).toBe(true);
      const now = Date.now();
      stepSystemClock(step);
      await chargeBatch(database.pool, [clickRecord({ ad: account.ad, clickedAt: now })]);
      await rollUp(database.pool);
      await expect.poll(() => counted(all.events), { timeout: 10_000 }).toBe(1);
      await expect.poll(() => counted(own.events), { timeout: 10_000 }).toBe(1);
      for (const { data } of all.events.filter(({ event }) => event === 'clicks')) {
        const ms = Date.parse(String(data.asOf)) - Date.parse(String(data.from));
        expect(ms).toBeGreaterThan(0);
        expect(ms).toBeLessThan(10_000);
      }
      for (const { close } of [all, own]) close();
      // The feeds begin anew for the next test.
      await new Promise((resolve) => setTimeout(resolve, 1_500));
    },
  );
});
