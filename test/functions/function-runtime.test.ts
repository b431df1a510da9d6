import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createPool, failureKind, inTransaction, terminatePool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { readCloudEvents } from '../../processor/events/cloud-events.ts';
import { FunctionRuntime } from '../../processor/functions/function-runtime.ts';
import { maintainLedger } from '../../processor/maintenance-loop.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let spool: TestSpool;
let ads: NamedAd[];

beforeEach(async () => {
  database = await createTestDatabase();
  spool = new TestSpool();
  ads = [];
  for (let count = 0; count < 2; count += 1) ads.push((await addAccount(database.pool)).ad);
});
afterEach(() => database.drop());

const runtimeAt = (url = database.url, more: Record<string, string> = {}, queryMsMax?: number) =>
  new FunctionRuntime('function', { DATABASE_URL: url, LOG_LEVEL: 'silent', ...more }, queryMsMax);
const within = (ms: number) => ({ id: 'test', deadlineAt: performance.now() + ms });

/** The statements of the function's open transactions; for an idle transaction the last one. */
async function openTransactions(): Promise<string[]> {
  const { rows } = await database.pool.query<{ query: string }>(
    `select query from pg_stat_activity
     where datname = current_database() and application_name = 'tollway function' and xact_start is not null`,
  );
  return rows.map(({ query }) => query);
}

describe('a terminated pool', () => {
  it('begins no transaction on a connection that was still being opened', async () => {
    const proxy = await startTcpProxy(database.url);
    try {
      proxy.freeze();
      const pool = createPool(proxy.url, 'cut', 1, () => {});
      let begun = false;
      const work = inTransaction(pool, async (connection) => {
        begun = true;
        await connection.query('select pg_sleep(1)');
      });
      const outcome = work.then(
        () => null,
        (error: unknown) => error,
      );
      await until('a connection in the making', () => proxy.connections() === 1);
      await terminatePool(pool);
      proxy.thaw();
      const error = await outcome;
      expect(begun).toBe(false);
      expect(failureKind(error)).toBe('transient');
    } finally {
      await proxy.close();
    }
  });
});

describe('a function runtime', () => {
  it('charges no click after it has reported the click as unsettled', async () => {
    const proxy = await startTcpProxy(database.url);
    try {
      const runtime = runtimeAt(proxy.url);
      const clicks = Array.from({ length: 5 }, () => spool.click({ ad: ads[0] as NamedAd }));
      proxy.freeze();
      const settled = runtime.settle(clicks, within(1_200));
      // The test depends on time: the connection is ready just before the deadline, so that a charge could still begin.
      await sleep(1_000);
      proxy.thaw();
      expect(await settled).toBe(0);
      // Time in which a charge in progress would commit.
      await sleep(1_000);
      expect((await database.pool.query('select from ledger')).rowCount).toBe(0);
      expect(await runtime.settle(clicks, within(10_000))).toBe(5);
      await expectBalanced(database.pool);
    } finally {
      await proxy.close();
    }
  });

  it('uses no old connection after it was frozen, even with several concurrent calls', async () => {
    const proxy = await startTcpProxy(database.url);
    try {
      const runtime = runtimeAt(proxy.url);
      const click = () => spool.click({ ad: ads[0] as NamedAd });
      expect(await runtime.settle([click()], within(10_000))).toBe(1);
      proxy.freezeOpen();
      const now = Date.now();
      vi.spyOn(Date, 'now').mockImplementation(() => now + 3_600_000);
      const calls = Promise.all([1, 2, 3].map(() => runtime.settle([click()], within(5_000))));
      vi.restoreAllMocks();
      expect(await Promise.race([calls, sleep(5_000)])).toEqual([1, 1, 1]);
    } finally {
      vi.restoreAllMocks();
      await proxy.close();
    }
  });

  it('has no open transaction after the last of several calls if an earlier one was cancelled', async () => {
    const runtime = runtimeAt(undefined, { RETRY_ATTEMPTS: '100' });
    // Loads the function and connects, which takes a part of the first call's time.
    expect(await runtime.settle([spool.click({ ad: ads[1] as NamedAd })], within(10_000))).toBe(1);
    // Every row of the first advertiser fails, after half a second.
    await database.pool.query(
      `create function refuse() returns trigger language plpgsql as
       $$ begin if new.advertiser_id = ${ads[0]?.advertiserId} then perform pg_sleep(0.5); raise exception 'refused'; end if;
       return new; end $$`,
    );
    await database.pool.query(
      'create trigger refuse before insert on ledger for each row execute function refuse()',
    );
    const poison = spool.click({ ad: ads[0] as NamedAd });
    const good = spool.click({ ad: ads[1] as NamedAd });
    const first = runtime.settle([poison], within(1_100));
    await until('the first call in its transaction', async () => (await openTransactions()).length > 0);
    const second = runtime.settle([good], within(10_000));
    expect(await first).toBe(0);
    expect(await second).toBe(1);
    // The server cancels the running statement when its client disconnects. A later transaction could be frozen with its locks,
    // so none must appear for half a second.
    await until('no open transaction', async () => (await openTransactions()).length === 0, 2_000);
    for (let look = 0; look < 20; look += 1) {
      expect(await openTransactions()).toEqual([]);
      await sleep(25);
    }
  });

  it('cancels scheduled work at its deadline', async () => {
    const runtime = runtimeAt(undefined, {}, 0);
    const blocker = await database.pool.connect();
    await blocker.query('begin');
    await blocker.query("select pg_advisory_xact_lock(hashtext('tollway spool counters'))");
    const startedAt = Date.now();
    const error = await Promise.race([
      runtime.run(within(1_500), maintainLedger).then(
        () => 'done',
        (failure: Error) => failure,
      ),
      sleep(2_500).then(() => 'blocked'),
    ]);
    await blocker.query('rollback');
    blocker.release();
    expect(error).toBeInstanceOf(Error);
    expect(Date.now() - startedAt).toBeLessThan(1_500);
    expect(await runtime.run(within(10_000), maintainLedger)).toEqual({ maintained: true });
  });

  it('retries dropping a day that a reader holds in the same call, because the next call is hours away', async () => {
    const { rows } = await database.pool.query<{ relname: string }>(
      "select relname from pg_class where relkind = 'r' and relname like 'ledger_2%' order by relname limit 1",
    );
    const day = rows[0]?.relname;
    await database.pool.query(
      "update ledger_window set click_floor = click_floor + interval '1 day', floor_raised_at = now() - interval '2 hours'",
    );
    const reader = await database.pool.connect();
    await reader.query('begin; lock table ledger in access share mode');
    const maintained = runtimeAt(undefined, {}, 0).run(within(20_000), maintainLedger);
    const attempts = new Set<string>();
    await until('a second attempt to drop it', async () => {
      const { rows } = await database.pool.query<{ attempt: string }>(
        `select query_start::text as attempt from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'`,
      );
      for (const { attempt } of rows) attempts.add(attempt);
      return attempts.size > 1;
    });
    await reader.query('commit');
    reader.release();
    expect(await maintained).toEqual({ maintained: true });
    expect((await database.pool.query('select from pg_class where relname = $1', [day])).rowCount).toBe(0);
  });

  it.each([
    ['a NUL', `a\0b`],
    ['no end', Array.from({ length: 400 }, () => Math.random().toString(36)).join('')],
  ])('continues after an event whose source has %s', async (_what, source) => {
    const runtime = runtimeAt();
    const body = Buffer.from(
      JSON.stringify([
        { specversion: '1.0', id: '1', source, type: 'x', data: { no: 'click' } },
        {
          specversion: '1.0',
          id: '2',
          source: 's',
          type: 'x',
          data: JSON.parse(String(spool.click({ ad: ads[0] as NamedAd }).value)),
        },
      ]),
    );
    const records = readCloudEvents(
      'f',
      { 'content-type': 'application/cloudevents-batch+json' },
      body,
      'request',
    );
    expect(await runtime.settle(records, within(4_000))).toBe(2);
    expect(await runtime.settle(records, within(4_000))).toBe(2);
    expect((await database.pool.query('select from dead_letter')).rowCount).toBe(1);
  });
});

describe('Secrets Manager that does not answer', () => {
  it('makes the call fail after a timeout, with an error that names the function', async () => {
    const server = createServer(() => {}).listen(0);
    const keys = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_REGION: 'us-east-1' };
    const { port } = server.address() as AddressInfo;
    Object.assign(process.env, keys, { AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${port}` });
    try {
      const runtime = runtimeAt(undefined, {
        DATABASE_SECRET: 'arn:aws:secretsmanager:us-east-1:1:secret:x',
      });
      const failure = runtime.settle([], within(60_000)).catch((error: Error) => error);
      expect(await Promise.race([failure, sleep(20_000)])).toMatchObject({
        code: 'dependency_failed',
        cause: expect.objectContaining({ code: 'ETIMEDOUT' }),
        message: expect.stringMatching(/^function: .*timeout/i),
      });
    } finally {
      for (const name of [...Object.keys(keys), 'AWS_ENDPOINT_URL_SECRETS_MANAGER']) delete process.env[name];
      server.close();
    }
  });
});

describe('a database that refuses the connection settings', () => {
  it('is retried like one that is down: with pauses, and without dead letters', async () => {
    const metrics = createMetrics();
    // The server of the tests speaks no TLS.
    const pool = createPool(`${database.url}?sslmode=require`, 'tls', 1, () => {});
    const dispatcher = new BatchDispatcher(
      pool,
      { batchSize: 1_000, lanes: 1, clickAgeMaxDays: 14, retryAttempts: 0 },
      { metrics, logger: silent, onInvariant: () => {} },
    );
    const clicks = Array.from({ length: 500 }, () => spool.click({ ad: ads[0] as NamedAd }));
    const delivered = dispatcher.submit(clicks).catch((error: unknown) => error);
    // The test depends on time: it counts the retries of a batch.
    await sleep(1_500);
    dispatcher.abort();
    await delivered;
    const { values } = await metrics.batchRetries.get();
    const counts = new Map(values.map(({ labels, value }) => [labels.cause, value]));
    expect(counts.get('permanent')).toBe(0);
    expect(counts.get('transient')).toBeGreaterThan(0);
    expect(counts.get('transient')).toBeLessThan(30);
    await pool.end();
  });
});
