import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADVERTISER_LOCKED, type BatchSink, type EventSource } from '../../brokers/event-source.ts';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { createPostgresSource } from '../../brokers/postgres/source.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import { TollwayError } from '../../common/errors.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';

type Submit = BatchSink['submit'];
type Consumer = { source: EventSource; pool: Pool; dispatcher: BatchDispatcher; ended: Promise<void> };

let database: TestDatabase & { drop: () => Promise<void> };
let metrics: ProcessMetrics;
let publisher: Publisher;
let ad: NamedAd;
let consumers: Consumer[];

beforeEach(async () => {
  database = await createTestDatabase();
  metrics = createMetrics();
  publisher = createPostgresPublisher(database.pool);
  ({ ad } = await addAccount(database.pool, { budget: '1000000.00' }));
  consumers = [];
});
afterEach(async () => {
  for (const { source, dispatcher, pool, ended } of consumers) {
    dispatcher.abort();
    await source.stop();
    await ended;
    await pool.end();
  }
  await database.drop();
});

/** Starts a consumer with its own connections; `wrap` wraps the dispatcher that its source submits to. */
function consume(wrap: (submit: Submit) => Submit = (submit) => submit): Consumer {
  const pool = createPool(database.url, 'test consumer', 6, () => undefined);
  const options = { batchSize: 100, lanes: 2, clickAgeMaxDays: 14, retryAttempts: 1 };
  const dispatcher = new BatchDispatcher(pool, options, {
    metrics,
    logger: silent,
    onInvariant: () => undefined,
  });
  const source = createPostgresSource(
    pool,
    {
      waitForCapacity: dispatcher.waitForCapacity,
      submit: wrap(dispatcher.submit),
      commitProbes: dispatcher.commitProbes,
      forget: dispatcher.forget,
      unlockedCount: dispatcher.unlockedCount,
    },
    { windowMs: 5, batchSize: 100 },
    { logger: silent },
  );
  const consumer = { source, pool, dispatcher, ended: source.run() };
  consumers.push(consumer);
  return consumer;
}

async function untilAllSettled(): Promise<void> {
  await expect
    .poll(
      async () => (await database.pool.query('select from broker_chunk where settled_at is null')).rowCount,
      {
        timeout: 15_000,
      },
    )
    .toBe(0);
}

async function publishChunks(spool: TestSpool, chunks: number, size: number): Promise<void> {
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    await publisher.publish(Array.from({ length: size }, () => spool.click({ ad })));
  }
  await publisher.publishEverywhere(spool.watermark());
}

describe('a consumer of the Postgres broker', () => {
  it('settles every record of every chunk once, and marks the chunks as settled', async () => {
    const spool = new TestSpool();
    consume();
    await publishChunks(spool, 12, 30);
    await untilAllSettled();
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 360, charged: 360, inFlight: 0 });
    expect((await database.pool.query('select from broker_chunk')).rowCount).toBe(13);
  });

  it('shares the chunks with another', async () => {
    const spool = new TestSpool();
    await publishChunks(spool, 40, 10);
    const waiting = new Set<string>();
    let bothAtWork: () => void = () => undefined;
    const both = new Promise<void>((resolve) => {
      bothAtWork = resolve;
    });
    const meet =
      (name: string) =>
      (submit: Submit): Submit =>
      async (records) => {
        waiting.add(name);
        if (waiting.size === 2) bothAtWork();
        await both;
        await submit(records);
      };
    consume(meet('one'));
    consume(meet('other'));
    await untilAllSettled();
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 400, charged: 400 });
    expect((await metrics.duplicates.get()).values[0]?.value).toBe(0);
  });

  it('settles only the chunks that it has claimed; an older one that another holds waits and is charged later', async () => {
    const spool = new TestSpool();
    const isSettled = async () =>
      (
        await database.pool.query('select settled_at is not null as settled from broker_chunk order by id')
      ).rows.map(({ settled }) => settled);
    await publisher.publish([1, 2, 3].map(() => spool.click({ ad })));
    const claimed = Promise.withResolvers<void>();
    const dead = Promise.withResolvers<never>();
    dead.promise.catch(() => undefined);
    let isClaimed = false;
    // Its two loops claim concurrently. The claim of the second one is rolled back.
    const holder = consume(() => () => {
      if (isClaimed) return Promise.reject(new TollwayError('database', 'Not now', { retryable: true }));
      isClaimed = true;
      claimed.resolve();
      return dead.promise;
    });
    await claimed.promise;
    const stopped = holder.source.stop();
    await publisher.publish([spool.click({ ad }), spool.click({ ad }), spool.watermark()]);
    consume();
    try {
      await expect.poll(isSettled, { timeout: 5_000 }).toEqual([false, true]);
    } finally {
      await database.pool.query(
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()
           and state = 'idle in transaction' and query like '%broker_chunk%for update skip locked%'`,
      );
      dead.reject(new Error('The process has died'));
    }
    await stopped;
    await untilAllSettled();
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 5, charged: 5, missing: 0 });
  });

  it('reads a claim again if it loses its connection after the charge, and charges no click twice', async () => {
    const spool = new TestSpool();
    // One chunk, so that one claim holds all records.
    await publisher.publish([...Array.from({ length: 60 }, () => spool.click({ ad })), spool.watermark()]);
    let deliveries = 0;
    consume((submit) => async (records) => {
      await submit(records);
      deliveries += 1;
      if (deliveries > 1) return;
      const { rowCount } = await database.pool.query(
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()
           and state = 'idle in transaction' and query like '%broker_chunk%for update skip locked%'`,
      );
      expect(rowCount).toBeGreaterThan(0);
    });
    await untilAllSettled();
    expect(deliveries).toBeGreaterThan(1);
    // Two connections can be terminated: the other loop may be in a transaction, too, and claim the chunk before its turn.
    expect((await metrics.duplicates.get()).values[0]?.value).toBe(60 * (deliveries - 1));
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 60, charged: 60 });
  });

  it('stores a malformed chunk as one foreign record, and continues', async () => {
    const spool = new TestSpool();
    const payload = Buffer.from('foreign bytes');
    const statement = 'insert into broker_chunk (record_count, payload) values (1, $1)';
    await database.pool.query(statement, [payload]);
    await publishChunks(spool, 1, 5);
    consume();
    await untilAllSettled();
    const { rows } = await database.pool.query('select reason, raw, record_key from dead_letter');
    expect(rows).toEqual([{ reason: 'malformed', raw: payload, record_key: null }]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 5, rejected: 0, unattributed: 0 });
  });

  it('stores an empty chunk as a foreign record, too', async () => {
    await database.pool.query(`insert into broker_chunk (record_count, payload) values (1, '')`);
    consume();
    await untilAllSettled();
    expect((await database.pool.query('select from dead_letter')).rowCount).toBe(1);
  });

  it('waits while its table is missing', async () => {
    const { source } = consume();
    await database.pool.query('alter table broker_chunk rename to chunk_away');
    await expect.poll(() => source.isFailing()).toBe(true);
    expect(source.problems()).toMatchObject([
      { what: 'postgres', reason: expect.stringContaining('broker_chunk') },
    ]);
    await database.pool.query('alter table chunk_away rename to broker_chunk');
    await expect.poll(() => source.problems()).toEqual([]);
    await publishChunks(new TestSpool(), 1, 5);
    await untilAllSettled();
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 5 });
  });

  it('settles what it has claimed when it stops, and leaves the rest', async () => {
    const spool = new TestSpool();
    await publishChunks(spool, 30, 10);
    let begun: () => void = () => undefined;
    const first = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const { source } = consume((submit) => async (records) => {
      begun();
      await submit(records);
    });
    await first;
    await source.stop();
    const reconciliation = await reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
    expect(reconciliation).toMatchObject({ balanced: true, missing: 0, accepted: 300 });
    expect(reconciliation.charged + reconciliation.inFlight).toBe(300);
    expect(reconciliation.charged).toBeGreaterThan(0);
    consume();
    await untilAllSettled();
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 300 });
    expect((await metrics.duplicates.get()).values[0]?.value).toBe(0);
  });
});

describe('the lag of the Postgres broker', () => {
  it('counts the waiting records and measures how long the oldest has waited', async () => {
    const idle = idleSource();
    expect(await idle.lag()).toMatchObject({ records: 0, oldestAgeSeconds: 0 });
    const late = new TestSpool();
    await publisher.publish([
      late.click({ ad, clickedAt: Date.now() - 3_600_000 }),
      ...[1, 2, 3].map(() => late.click({ ad })),
    ]);
    await publishChunks(new TestSpool(), 1, 17);
    const { records, oldestAgeSeconds } = await idle.lag();
    expect(records).toBe(22);
    expect(oldestAgeSeconds).toBeGreaterThanOrEqual(3_600);
    expect(oldestAgeSeconds).toBeLessThan(3_700);
    consume();
    await untilAllSettled();
    expect(await idle.lag()).toMatchObject({ records: 0, oldestAgeSeconds: 0 });
  });
});

it('a consumer logs once that it cannot read, and once that it can again', async () => {
  const { logger, lines } = capturedLog();
  let isAway = true;
  let attempts = 0;
  const submit: Submit = async () => {
    attempts += 1;
    if (isAway) throw Object.assign(new Error('away'), { code: '57P01' });
  };
  const sink = {
    waitForCapacity: async () => {},
    submit,
    commitProbes: () => [],
    forget: () => {},
    unlockedCount: () => 0,
  };
  const source = createPostgresSource(database.pool, sink, { windowMs: 5, batchSize: 100 }, { logger });
  await publishChunks(new TestSpool(), 1, 1);
  const running = source.run();
  await expect.poll(() => attempts, { timeout: 10_000 }).toBeGreaterThan(2);
  isAway = false;
  await untilAllSettled();
  await source.stop();
  await running;
  expect(lines).toEqual([
    'warn The processor cannot read from the database. Clicks wait there and are charged later',
    'warn The processor reads from the database again',
  ]);
});

it('a consumer that waits for locked advertisers says so and is not failing, because the database answers', async () => {
  await publisher.publish([new TestSpool().click({ ad })]);
  await database.pool.query(
    'insert into broker_chunk (record_count, payload) select record_count, payload from broker_chunk, generate_series(2, 10000)',
  );
  const source = createPostgresSource(
    database.pool,
    {
      waitForCapacity: async () => {},
      submit: async () => {
        throw new TollwayError(ADVERTISER_LOCKED, 'The advertiser is locked');
      },
      commitProbes: () => [],
      forget: () => {},
      unlockedCount: () => unlocked,
    },
    { windowMs: 5, batchSize: 10_000 },
    { logger: silent },
  );
  let unlocked = 0;
  const running = source.run();
  try {
    const waits = [
      { what: 'postgres', reason: expect.stringContaining('10000 chunks hold clicks of locked advertisers') },
    ];
    await expect.poll(() => source.problems(), { timeout: 20_000 }).toMatchObject(waits);
    expect(source.isFailing()).toBe(false);
    // The wait ends, and reading fails.
    await database.pool.query('alter table broker_chunk rename to chunk_away');
    unlocked += 1;
    // A claim that had begun before can fail while the wait is still reported.
    const failures = [{ what: 'postgres', reason: expect.stringContaining('broker_chunk') }];
    await expect.poll(() => source.problems(), { timeout: 10_000 }).toMatchObject(failures);
    expect(source.isFailing()).toBe(true);
  } finally {
    await source.stop();
    await running;
  }
});

it('a rewind reads again the records that were published at its time or later', async () => {
  const since = new Date();
  const { rowCount } = await database.pool.query(
    `insert into broker_chunk (record_count, payload, published_at, settled_at)
     select records, ''::bytea, $1::timestamptz + after, now()
     from (values (1, '-1 microsecond'::interval), (10, '0'), (100, '1 microsecond')) chunk (records, after)`,
    [since],
  );
  expect(rowCount).toBe(3);
  expect(await postgresBacklog.rewind(database.pool, since)).toEqual({ records: 110, short: false });
  // The oldest chunk was published at that time, so none is missing.
  await database.pool.query('delete from broker_chunk where published_at < $1', [since]);
  expect(await postgresBacklog.rewind(database.pool, since)).toEqual({ records: 0, short: false });
  const before = new Date(since.getTime() - 1);
  expect(await postgresBacklog.rewind(database.pool, before)).toEqual({ records: 0, short: true });
});

it('a rewind reports that records can have been deleted only if some were', async () => {
  const longAgo = new Date(Date.now() - 3_600_000);
  expect(await postgresBacklog.rewind(database.pool, longAgo)).toEqual({ records: 0, short: false });
  await database.pool.query(
    "insert into broker_chunk (record_count, payload, settled_at) select 1, ''::bytea, now() from generate_series(1, 2)",
  );
  expect(await postgresBacklog.rewind(database.pool, longAgo)).toEqual({ records: 2, short: false });
  await database.pool.query('delete from broker_chunk where id = 1');
  expect(await postgresBacklog.rewind(database.pool, longAgo)).toEqual({ records: 0, short: true });
});

it('lag and rewind count more records than an integer of PostgreSQL can hold', async () => {
  const { rows } = await database.pool.query<{ now: Date }>(
    `insert into broker_chunk (record_count, payload, settled_at)
     select 2147483647, ''::bytea, now() from generate_series(1, 3) returning now() as now`,
  );
  const since = new Date((rows[0]?.now.getTime() ?? 0) - 1_000);
  const records = 3 * 2_147_483_647;
  expect(await postgresBacklog.rewind(database.pool, since)).toMatchObject({ records });
  expect(await idleSource().lag()).toMatchObject({ records });
});

/** A source without a sink, for its lag and its problems. */
function idleSource(): EventSource {
  return createPostgresSource(
    database.pool,
    {
      waitForCapacity: () => Promise.resolve(),
      submit: () => Promise.reject(new Error('Expected nothing to be delivered')),
      commitProbes: () => [],
      forget: () => undefined,
      unlockedCount: () => 0,
    },
    { windowMs: 5, batchSize: 100 },
    { logger: silent },
  );
}
