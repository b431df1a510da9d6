import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import type { App } from '../../console/api/deps.ts';
import { createConsolePool } from '../../console/serve.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { testDatabase } from '../support/database.ts';
import { capturedLog } from '../support/loggers.ts';
import { until } from '../support/until.ts';
import { listenLive, type ReceivedEvent } from './live-listener.ts';

const database = testDatabase();
const { logger, lines } = capturedLog();
let pool: Pool;
let app: App;
let base = '';
let key = '';

beforeAll(async () => {
  pool = createConsolePool(database.url, logger);
  app = await createApp({ pool, longPool: pool, config: parseConfig({}), metrics: createMetrics(), logger });
  base = await app.listen({ port: 0, host: '127.0.0.1' });
  key = (await createKey(database.pool, { name: 'Test key', role: 'admin' })).key;
});
afterAll(async () => {
  await app.close();
  await pool.end();
});

type Problem = { code: string; summary: string; since: string | null };
const latest = (events: readonly ReceivedEvent[]) =>
  events.findLast(({ event }) => event === 'problems')?.data as unknown as Problem[] | undefined;

/** Listens until the problems were read once: no part runs in this test. */
async function listen() {
  const live = await listenLive(base, key);
  onTestFinished(live.close);
  const read = await until('the problems', () => latest(live.events));
  expect(read.map(({ code }) => code)).toEqual(['TollwayPartAbsent', 'TollwayPartAbsent']);
  const seen = async (count: number) =>
    until(`${count} problems`, () => latest(live.events)?.length === count && latest(live.events), 60_000);
  return { events: live.events, seen };
}

it('The live page says that what is wrong cannot be read, and why, and since when it is old', {
  timeout: 60_000,
}, async () => {
  const { events, seen } = await listen();
  await database.pool.query('alter table webhook_delivery rename to gone');
  const old = await seen(3);
  expect(old.map(({ code }) => code)).toEqual([
    ...['TollwayProblemsOld', 'TollwayPartAbsent', 'TollwayPartAbsent'],
  ]);
  expect(old[0]?.summary).toBe(
    'The console cannot read what is wrong, so this list is old: relation "webhook_delivery" does not exist',
  );
  expect(Date.now() - Date.parse(old[0]?.since ?? '')).toBeLessThan(20_000);
  // The sums are read meanwhile, which says nothing about the problems.
  const sumsOf = () => events.filter(({ event }) => event === 'reasons').length;
  const before = sumsOf();
  await until('later sums', () => sumsOf() > before);
  expect(lines).toEqual([
    'warn The console cannot read what is wrong for live events; it retries, and pages say that their list is old. Clicks are not affected',
  ]);
  await database.pool.query('alter table gone rename to webhook_delivery');
  await seen(2);
  expect(lines[1]).toBe('warn The console reads what is wrong for live events again');
});

it('The live page says so too while another session locks a table', { timeout: 90_000 }, async () => {
  const { events, seen } = await listen();
  const other = await database.pool.connect();
  await other.query('begin; lock table webhook_delivery in access exclusive mode');
  try {
    const old = await seen(3);
    expect(old[0]?.summary).toMatch(/the database has not answered within 15 s$/);
    expect(events.at(-1)?.event).not.toBe('stale');
  } finally {
    await other.query('rollback');
    other.release();
  }
  await seen(2);
});
