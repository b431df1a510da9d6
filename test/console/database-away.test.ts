import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { breakConnections, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import type { App } from '../../console/api/deps.ts';
import { createConsolePool } from '../../console/serve.ts';
import { type DatabaseWatch, watchDatabase } from '../../console/watch-database.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

/** Longest time until an answer, in ms, and what a busy machine may add to it. */
const ANSWER_MS_MAX = 2_000;
const BUSY_MS = 1_000;

const database = testDatabase();
let proxy: TcpProxy;
let pool: Pool;
let watch: DatabaseWatch;
let app: App;
let key = '';
let entries = '';

beforeAll(async () => {
  proxy = await startTcpProxy(database.url);
  pool = createConsolePool(proxy.url, silent);
  watch = watchDatabase(proxy.url, silent, () => breakConnections(pool));
  app = await createApp({
    pool,
    longPool: pool,
    config: parseConfig({}),
    metrics: createMetrics(),
    logger: silent,
  });
  key = (await createKey(database.pool, { name: 'Test key', role: 'admin' })).key;
  const { advertiser } = await addAccount(database.pool);
  entries = `/v1/advertisers/${advertiser.id}/budget-entries`;
});
afterAll(async () => {
  await app.close();
  await watch.stop();
  await pool.end();
  await proxy.close();
});

/** Sends a request, and measures the time until its answer. */
async function send(method: 'GET' | 'POST', url: string, idempotencyKey?: string) {
  const startedAt = performance.now();
  const answer = await app.inject({
    ...{ method, url },
    headers: { authorization: `Bearer ${key}`, ...(idempotencyKey && { 'idempotency-key': idempotencyKey }) },
    ...(method === 'POST' && { payload: { amount: '5' } }),
  });
  return {
    status: answer.statusCode,
    code: answer.json().code as unknown,
    ms: performance.now() - startedAt,
  };
}

const URLS = ['/v1/advertisers', '/v1/campaigns', '/v1/ads', '/v1/reports?since=1d', '/v1/keys', '/v1/audit'];

/** More requests at once than the pool has connections. */
const flood = () => Promise.all([...URLS, ...URLS, ...URLS].map((url) => send('GET', url)));

const works = async () => (await send('GET', URLS[0] ?? '')).status === 200;

describe('while the database', () => {
  it.each([
    ['refuses connections', () => proxy.cut(), () => proxy.restore()],
    ['is frozen', async () => proxy.freeze(), async () => proxy.thaw()],
  ])('%s, every request gets 503 within 2 s, and afterwards 200', async (_, begin, end) => {
    expect((await flood()).map(({ status }) => status)).toEqual(Array(18).fill(200));
    await begin();
    try {
      const answers = [...(await flood()), await send('POST', entries)];
      for (const { status, code, ms } of answers) {
        expect({ status, code }).toEqual({ status: 503, code: 'database_away' });
        expect(ms).toBeLessThan(ANSWER_MS_MAX + BUSY_MS);
      }
    } finally {
      await end();
    }
    await until('requests succeed again', works);
    expect((await flood()).map(({ status }) => status)).toEqual(Array(18).fill(200));
  });
});

describe('a POST whose connection to the database breaks', () => {
  it('has one effect if it is sent again with its Idempotency-Key', { timeout: 60_000 }, async () => {
    const count = async () =>
      (await database.pool.query('select count(*)::int as n from budget_entry where amount_micros = 5000000'))
        .rows[0].n;
    let interrupted = 0;
    for (let round = 0; round < 12; round += 1) {
      const before = await count();
      const sent = send('POST', entries, `round-${round}`);
      // Later in each round, so that the cut meets each statement, the commit included.
      await new Promise((resolve) => setTimeout(resolve, round));
      await proxy.cut();
      const { status } = await sent;
      expect([201, 503]).toContain(status);
      if (status === 503) interrupted += 1;
      await proxy.restore();
      await until('requests succeed again', works);
      const again = await send('POST', entries, `round-${round}`);
      expect(again.status).toBe(201);
      expect(await count()).toBe(before + 1);
    }
    expect(interrupted).toBeGreaterThan(0);
  });
});
