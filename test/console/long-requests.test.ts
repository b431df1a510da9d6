import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createPool, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import type { App } from '../../console/api/deps.ts';
import { LongRequests } from '../../console/api/long-requests.ts';
import { createConsolePool, createLongPool } from '../../console/serve.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
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
  it('are at most 2, and keep no connection and no turn from other requests', async () => {
    let exports: ReturnType<typeof send>[] = [];
    await whileExportsWait(async () => {
      exports = keys.map((key) => send(EXPORT, key));
      await expect.poll(waitingQueries).toBe(2);
      expect((await send('/v1/advertisers')).status).toBe(200);
      expect((await send('/v1/reports?since=1d', keys[5])).status).toBe(200);
      // Those that wait for their turn give up after a second, without an answer of the others.
      await Promise.any(exports);
    });
    const answers = await Promise.all(exports);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(2);
    const refused = answers.filter(({ status }) => status !== 200);
    for (const answer of refused)
      expect(answer).toMatchObject({ status: 503, code: 'busy', retryAfter: '1' });
    expect((await send(EXPORT)).status).toBe(200);
  });

  it('are ended by the database, and the answer says why', async () => {
    await whileExportsWait(async () => {
      const answer = send(EXPORT);
      await expect.poll(waitingQueries).toBe(1);
      await database.pool.query(
        `select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'tollway console long' and wait_event_type = 'Lock'`,
      );
      expect(await answer).toMatchObject({ status: 422, code: 'query_too_long', retryAfter: undefined });
    });
  });
});

it('the pool of long requests limits statements in its transactions alone, as PgBouncer needs it', async () => {
  const show = 'show statement_timeout';
  const limited = await inTransaction(longPool, (connection) => connection.query(show));
  expect(limited.rows).toEqual([{ statement_timeout: '1min' }]);
  expect((await longPool.query(show)).rows).toEqual([{ statement_timeout: '0' }]);
});

describe('long requests', () => {
  it('take turns if they are short', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => send('/v1/reports?since=1d')));
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200));
  });

  const begin = (requests: LongRequests, limitedAs: string, kind: 'report' | 'export' = 'report') =>
    requests.begin({ kind, limitedAs });

  it('have one export of a caller, so that one alone cannot take both', async () => {
    const requests = new LongRequests();
    await begin(requests, 'a', 'export');
    await expect(begin(requests, 'a', 'export')).rejects.toThrow('Expected at most 1 export of one');
    await begin(requests, 'a');
    await begin(requests, 'b', 'export');
  });

  it('are at most 4 in all and 2 of one caller, and one that waits begins when another has ended', async () => {
    const requests = new LongRequests();
    const ends = [await begin(requests, 'a'), await begin(requests, 'a')];
    const third = expect(begin(requests, 'a')).rejects.toThrow('of one key or session at once');
    ends.push(await begin(requests, 'b'), await begin(requests, 'c'));
    await expect(begin(requests, 'd')).rejects.toThrow(
      'Expected at most 4 exports, reports and reconciliations of this console at once',
    );
    await third;
    const next = begin(requests, 'd');
    // Twice, as after a broken connection.
    ends[0]?.();
    ends[0]?.();
    await next;
    await expect(begin(requests, 'e')).rejects.toThrow('Expected at most 4');
  });
});
