import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { breakConnections, createClient, createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import type { App } from '../../console/api/deps.ts';
import { createConsolePool } from '../../console/serve.ts';
import { type DatabaseWatch, watchDatabase } from '../../console/watch-database.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { isoDay, partitionName } from '../../ledger/partitions.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';
import { clickRecord } from '../support/records.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

/** Longest time from the freeze to an answer, in ms, and what a busy machine may add to it. */
const ANSWER_MS_MAX = 2_000;
const BUSY_MS = 1_000;
/** The advisory lock for which each commit of a budget entry waits. */
const COMMIT_LOCK = 42;

const folder = suiteFolder();
let postgres: OwnPostgres;
/** Connections of the test, which the console does not know. */
let own: Pool;
let pool: Pool;
let watch: DatabaseWatch;
let app: App;
let base = '';
let key = '';
let account: Account;

beforeAll(async () => {
  postgres = await startOwnPostgres(folder);
  own = createPool(postgres.url, 'test', 4, () => {});
  pool = createConsolePool(postgres.url, silent);
  watch = watchDatabase(postgres.url, silent, () => breakConnections(pool));
  app = await createApp({
    pool,
    longPool: pool,
    config: parseConfig({}),
    metrics: createMetrics(),
    logger: silent,
  });
  base = await app.listen({ port: 0, host: '127.0.0.1' });
  key = (await createKey(own, { name: 'Test key', role: 'admin' })).key;
  account = await addAccount(own);
  await own.query(`
    create function wait_for_test() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock(${COMMIT_LOCK}); return null; end $$;
    create constraint trigger wait_for_test after insert on budget_entry deferrable initially deferred
    for each row execute function wait_for_test()`);
}, 60_000);
afterAll(async () => {
  postgres.thaw();
  await app.close();
  await watch.stop();
  for (const one of [pool, own]) await one.end();
  await postgres.stop();
});

/** Sends a request, and measures when its answer was complete. */
async function send(method: 'GET' | 'POST', path: string, idempotencyKey?: string) {
  const response = await fetch(`${base}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(method === 'POST' && { 'content-type': 'application/json' }),
      ...(idempotencyKey && { 'idempotency-key': idempotencyKey }),
    },
    ...(method === 'POST' && { body: JSON.stringify({ amount: '5' }) }),
  });
  const isReplayed = response.headers.get('idempotency-replayed') === 'true';
  const text = await response.text().catch(() => null);
  const code: unknown = text?.startsWith('{"type"') ? JSON.parse(text).code : undefined;
  return { status: response.status, code, isReplayed, isComplete: text !== null, endedAt: performance.now() };
}

/** Takes a lock in a transaction of its own. Returns how to release it. */
async function hold(statement: string): Promise<() => Promise<void>> {
  const client = createClient(postgres.url, 'test lock');
  client.on('error', () => {});
  await client.connect();
  await client.query('begin');
  await client.query(statement);
  return () => client.end();
}

/** Waits until statements of the console wait for a lock. */
const waitsForLock = (statements = 1) =>
  until('a statement that waits', async () => {
    const { rows } = await own.query<{ waiting: number }>(
      `select count(*)::int as waiting from pg_stat_activity where application_name = 'tollway console' and wait_event_type = 'Lock'`,
    );
    return rows[0]?.waiting === statements;
  });

/** Freezes the server during a request until it has been answered. Returns the answer and how long it took. */
async function answerWhileFrozen(request: ReturnType<typeof send>) {
  postgres.freeze();
  const frozenAt = performance.now();
  try {
    const { endedAt, ...answer } = await request;
    return { ...answer, tookMs: endedAt - frozenAt };
  } finally {
    postgres.thaw();
  }
}

const entries = () => `/v1/advertisers/${account.advertiser.id}/budget-entries`;
const countEntries = async () =>
  (await own.query('select count(*)::int as n from budget_entry where amount_micros = 5000000')).rows[0].n;
const works = async () => (await send('GET', '/v1/advertisers')).status === 200;

/** Expects that the console works again, and that the broken connections have gone on both sides. */
async function expectRecovered(): Promise<void> {
  await until('an answer 200', works);
  await until('the end of broken connections', async () => {
    const { rows } = await own.query<{ open: number }>(
      `select count(*)::int as open from pg_stat_activity where application_name = 'tollway console'`,
    );
    return rows[0]?.open === pool.totalCount;
  });
  // An answer can arrive before its connection is given back.
  await until('no connection in use', () => pool.totalCount === pool.idleCount && pool.waitingCount === 0);
  await until('no warning', async () => watch.problems().length === 0);
}

it('a read in progress gets 503 within 2 s after PostgreSQL froze', { timeout: 30_000 }, async () => {
  const release = await hold('lock table advertiser in access exclusive mode');
  const requests = Promise.all(Array.from({ length: 10 }, () => send('GET', '/v1/advertisers')));
  await waitsForLock(10);
  const answer = await answerWhileFrozen(
    requests.then((all) => {
      expect(new Set(all.map(({ status }) => status))).toEqual(new Set([503]));
      return all.reduce((last, one) => (one.endedAt > last.endedAt ? one : last));
    }),
  );
  await release();
  expect(answer).toMatchObject({ status: 503, code: 'database_away' });
  expect(answer.tookMs).toBeLessThan(ANSWER_MS_MAX + BUSY_MS);
  await expectRecovered();
});

it('a slow read of a database that answers others is waited for', { timeout: 30_000 }, async () => {
  const release = await hold('lock table advertiser in access exclusive mode');
  const request = send('GET', '/v1/advertisers');
  await waitsForLock();
  // Twice as long as the console waits for an answer of a check.
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  await release();
  expect(await request).toMatchObject({ status: 200 });
});

it('a change in progress gets 503, and is made once by its retry', { timeout: 30_000 }, async () => {
  const before = await countEntries();
  const release = await hold(`select from advertiser where id = ${account.advertiser.id} for update`);
  const request = send('POST', entries(), 'in-progress');
  await waitsForLock();
  const answer = await answerWhileFrozen(request);
  await release();
  expect(answer).toMatchObject({ status: 503, code: 'database_away' });
  expect(answer.tookMs).toBeLessThan(ANSWER_MS_MAX + BUSY_MS);
  await expectRecovered();
  expect(await countEntries()).toBe(before);
  for (const isReplayed of [false, true])
    expect(await send('POST', entries(), 'in-progress')).toMatchObject({ status: 201, isReplayed });
  expect(await countEntries()).toBe(before + 1);
});

it('a change at its commit gets 503 commit_unknown, and its retry the answer', {
  timeout: 30_000,
}, async () => {
  const before = await countEntries();
  const release = await hold(`select pg_advisory_xact_lock(${COMMIT_LOCK})`);
  const request = send('POST', entries(), 'commit');
  await waitsForLock();
  const answer = await answerWhileFrozen(request);
  await release();
  expect(answer).toMatchObject({ status: 503, code: 'commit_unknown' });
  expect(answer.tookMs).toBeLessThan(ANSWER_MS_MAX + BUSY_MS);
  // The server has received the commit, and finishes it without its client.
  await until('the commit', async () => (await countEntries()) === before + 1);
  await expectRecovered();
  expect(await send('POST', entries(), 'commit')).toMatchObject({ status: 201, isReplayed: true });
  expect(await countEntries()).toBe(before + 1);
});

it('a change whose server ends it at its commit is made by its retry', { timeout: 30_000 }, async () => {
  const before = await countEntries();
  const release = await hold(`select pg_advisory_xact_lock(${COMMIT_LOCK})`);
  const request = send('POST', entries(), 'ended');
  await waitsForLock();
  await own.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tollway console' and wait_event_type = 'Lock'`,
  );
  expect(await request).toMatchObject({ status: 503, code: 'commit_unknown' });
  await release();
  await expectRecovered();
  expect(await send('POST', entries(), 'ended')).toMatchObject({ status: 201, isReplayed: false });
  expect(await countEntries()).toBe(before + 1);
});

it.each([
  // With its header, the answer has begun.
  ['csv', { status: 200, isComplete: false }],
  ['ndjson', { status: 503, isComplete: true, code: 'database_away' }],
])('an export as %s does not look complete', { timeout: 30_000 }, async (format, expected) => {
  await chargeBatch(own, [clickRecord({ ad: account.ad })]);
  const partition = partitionName('ledger', Date.parse(isoDay(Date.now())));
  const release = await hold(`lock table ${partition} in access exclusive mode`);
  const request = send(
    'GET',
    `/v1/exports/clicks?since=${new Date(Date.now() - 60_000).toISOString()}&format=${format}`,
  );
  await waitsForLock();
  const answer = await answerWhileFrozen(request);
  await release();
  expect(answer).toMatchObject(expected);
  expect(answer.tookMs).toBeLessThan(ANSWER_MS_MAX + BUSY_MS);
  await expectRecovered();
});
