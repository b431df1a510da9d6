import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import type { App } from '../../console/api/deps.ts';
import { createConsolePool, createLongPool } from '../../console/serve.ts';
import { createKey } from '../../ledger/api-keys.ts';
import { testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';

const database = testDatabase();
let pool: Pool;
let longPool: Pool;
/** Locks what exports read and other requests do not. */
let locker: Pool;
let app: App;
const keys: string[] = [];
const SINCE = new Date(Date.now() - 3_600_000).toISOString();
const EXPORT = `/v1/exports/clicks?since=${SINCE}`;

beforeAll(async () => {
  pool = createConsolePool(database.url, silent);
  longPool = createLongPool(database.url, silent);
  locker = createPool(database.url, 'test', 1, () => {});
  app = await createApp({
    pool,
    longPool,
    config: parseConfig({}),
    metrics: createMetrics(),
    logger: silent,
  });
});
beforeEach(async () => {
  keys.length = 0;
  for (let one = 0; one < 6; one += 1)
    keys.push((await createKey(database.pool, { name: 'Test key', role: 'admin' })).key);
});
afterAll(async () => {
  await app.close();
  for (const one of [pool, longPool, locker]) await one.end();
});

const send = async (url: string, key = keys[0]) => {
  const answer = await app.inject({ url, headers: { authorization: `Bearer ${key}` } });
  const code = answer.statusCode === 200 ? null : answer.json().code;
  return { status: answer.statusCode, code, retryAfter: answer.headers['retry-after'], body: answer.body };
};
const waitingQueries = async () =>
  (
    await database.pool.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%dead_letter%'`,
    )
  ).rows.length;

/** Runs `work` while every export waits for a lock. */
async function whileExportsWait(work: () => Promise<void>): Promise<void> {
  const connection = await locker.connect();
  await connection.query('begin; lock table dead_letter');
  try {
    await work();
  } finally {
    await connection.query('rollback');
    connection.release();
  }
}

describe('exports that take long', () => {
  it('are at most 4, and keep no connection from other requests', async () => {
    let exports: ReturnType<typeof send>[] = [];
    await whileExportsWait(async () => {
      exports = [...keys, ...keys].map((key) => send(EXPORT, key));
      await expect.poll(waitingQueries).toBeGreaterThanOrEqual(4);
      expect((await send('/v1/advertisers')).status).toBe(200);
      // Those that wait for their turn give up after a second, without an answer of the others.
      await Promise.any(exports);
    });
    const answers = await Promise.all(exports);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
    const refused = answers.filter(({ status }) => status !== 200);
    for (const answer of refused)
      expect(answer).toMatchObject({ status: 503, code: 'busy', retryAfter: '1' });
    expect((await send(EXPORT)).status).toBe(200);
  });

  it('are at most 2 of one key, and those of other keys run', async () => {
    const exports: ReturnType<typeof send>[] = [];
    await whileExportsWait(async () => {
      exports.push(send(EXPORT), send(EXPORT));
      await expect.poll(waitingQueries).toBe(2);
      expect(await send(EXPORT)).toMatchObject({ status: 503, code: 'busy' });
      expect((await send('/v1/reports?since=1d', keys[1])).status).toBe(200);
    });
    expect((await Promise.all(exports)).map(({ status }) => status)).toEqual([200, 200]);
  });

  it('are ended by the database, and the answer says why', async () => {
    await whileExportsWait(async () => {
      const answer = send(EXPORT);
      await expect.poll(waitingQueries).toBe(1);
      await database.pool.query(
        `select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'tollway console long' and wait_event_type = 'Lock'`,
      );
      expect(await answer).toMatchObject({ status: 503, code: 'busy' });
      expect((await answer).body).toContain('took too long');
    });
    expect((await longPool.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '1min' }]);
  });
});

it('many short reports of one key take turns', async () => {
  const answers = await Promise.all(Array.from({ length: 6 }, () => send('/v1/reports?since=1d')));
  expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200));
});
