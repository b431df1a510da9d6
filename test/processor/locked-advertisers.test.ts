import type { PoolClient } from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ADVERTISER_LOCKED, STOPPING } from '../../brokers/event-source.ts';
import { encodeChunk } from '../../brokers/postgres/chunk.ts';
import { createPostgresSource } from '../../brokers/postgres/source.ts';
import { parseConfig } from '../../common/config/config.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { collectGauges } from '../../processor/collect-gauges.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { LockedAdvertisers } from '../../processor/dispatch/locked-advertisers.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { TestSpool } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
/** The connections of charges, with a lock timeout of 300 ms instead of 12 s. */
let pool: Pool;
let holder: PoolClient;
let dispatcher: BatchDispatcher;
let locked: Account;
let other: Account;
let spool: TestSpool;
let log: ReturnType<typeof capturedLog>;

beforeEach(async () => {
  database = await createTestDatabase();
  pool = createPool(database.url, 'test', 6, () => {});
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    const hasty = (first: unknown, ...more: unknown[]) =>
      query(
        typeof first === 'string' ? first.replace("lock_timeout = '12s'", "lock_timeout = '300ms'") : first,
        ...more,
      );
    Object.assign(client, { query: hasty });
  });
  locked = await addAccount(database.pool);
  other = await addAccount(database.pool);
  spool = new TestSpool();
  log = capturedLog();
  dispatcher = newDispatcher();
  holder = await database.pool.connect();
  await holder.query('begin');
});
afterEach(async () => {
  dispatcher.abort();
  await holder.query('rollback');
  holder.release();
  await pool.end();
  await database.drop();
});

const problems = (): string[] => dispatcher.problems.map(({ what }) => what);

/** The clicks set aside, as the processor's metrics show them. */
async function setAside(): Promise<number | undefined> {
  const config = { ...parseConfig({}), DATABASE_URL: database.url };
  const metrics = createMetrics('processor');
  const gauges = collectGauges({ config, pool, dispatcher, metrics, logger: silent }, new Map());
  await gauges.refresh();
  await gauges.stop();
  return (await metrics.clicksSetAside.get()).values[0]?.value;
}

function newDispatcher(): BatchDispatcher {
  return new BatchDispatcher(
    pool,
    { batchSize: 50, lanes: 1, clickAgeMaxDays: 14, retryAttempts: 1 },
    { metrics: createMetrics(), logger: log.logger, onInvariant: () => {} },
  );
}

const mixed = (count: number): ReadRecord[] =>
  Array.from({ length: count }, (_, index) => spool.click({ ad: (index % 2 === 0 ? locked : other).ad }));
const charged = async ({ advertiser }: Account): Promise<number> => {
  const { rowCount } = await database.pool.query('select from ledger where advertiser_id = $1', [
    advertiser.id,
  ]);
  return rowCount ?? 0;
};
const holdAdvertiser = () =>
  holder.query('select from advertiser where id = $1 for update', [locked.advertiser.id]);

describe('an advertiser whose row another session keeps locked', () => {
  it('is set aside while the others of its lane are charged, is named, and is charged once it is unlocked', async () => {
    await holdAdvertiser();
    const first = dispatcher.submit([...mixed(20), spool.watermark()]);
    await expect.poll(() => charged(other)).toBe(10);
    expect(problems()).toContain(`settlement for advertiser ${locked.advertiser.id} (Test advertiser)`);
    expect(await setAside()).toBe(10);
    // Later clicks do not wait for the lock again, and other submissions end.
    await dispatcher.submit([spool.click({ ad: other.ad })]);
    const second = dispatcher.submit(mixed(6));
    await expect.poll(() => charged(other)).toBe(14);
    expect(await charged(locked)).toBe(0);
    await holder.query('commit');
    await Promise.all([first, second]);
    expect(await charged(locked)).toBe(13);
    expect(problems()).toEqual([]);
    expect(await setAside()).toBe(0);
    const { id } = locked.advertiser;
    expect(log.lines).toEqual([
      `warn Another session keeps a row of advertiser ${id} (Test advertiser) locked. Its clicks wait; all others are charged. ` +
        'End that session: docs/runbook.md#tollwaysettlementblocked',
      `warn The rows of advertiser ${id} (Test advertiser) are no longer locked; its clicks are charged`,
    ]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 27, rejected: 0 });
  });

  it.each(['campaign', 'ad'] as const)(
    'is found, too, when the locked row is that of its %s',
    async (table) => {
      // With a cap, the charge must update the campaign; it also sets the budget-exhausted flag of the ad.
      locked = await addAccount(database.pool, { budget: '1.00', cap: '1.00' });
      await holder.query(`select from ${table} where advertiser_id = $1 for update`, [locked.advertiser.id]);
      const delivered = dispatcher.submit(mixed(10));
      await expect.poll(() => charged(other)).toBe(5);
      expect(problems()).toContain(`settlement for advertiser ${locked.advertiser.id} (Test advertiser)`);
      await holder.query('commit');
      await delivered;
      expect(await expectBalanced(database.pool)).toMatchObject({ charged: 9, overBudget: 1 });
    },
  );

  it('is found, too, when the locked row is that of a day with a daily cap', async () => {
    locked = await addAccount(database.pool, { dailyCap: '1.00' });
    await dispatcher.submit([spool.click({ ad: locked.ad })]);
    await holder.query('select from campaign_day where campaign_id = $1 for update', [locked.campaign.id]);
    const delivered = dispatcher.submit(mixed(10));
    await expect.poll(() => charged(other)).toBe(5);
    expect(problems()).toContain(`settlement for advertiser ${locked.advertiser.id} (Test advertiser)`);
    await holder.query('commit');
    await delivered;
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 9, overBudget: 2 });
  });

  it('keeps the order of its clicks: its budget pays for the first ones', async () => {
    locked = await addAccount(database.pool, { budget: '1.00' });
    await holdAdvertiser();
    const early = Array.from({ length: 4 }, () => spool.click({ ad: locked.ad }));
    const first = dispatcher.submit([...early, spool.click({ ad: other.ad })]);
    await expect.poll(() => charged(other)).toBe(1);
    const later = dispatcher.submit([spool.click({ ad: locked.ad }), spool.click({ ad: other.ad })]);
    await expect.poll(() => charged(other)).toBe(2);
    await holder.query('commit');
    await Promise.all([first, later]);
    const { rows } = await database.pool.query<{ id: string }>(
      "select click_id as id from ledger where advertiser_id = $1 and outcome = 'charged' order by click_id",
      [locked.advertiser.id],
    );
    expect(rows.map(({ id }) => id)).toEqual(early.map(({ click }) => click.clickId));
  });

  it.each([
    ['clicks', 40, 'x'],
    ['bytes', 9, 'x'.repeat(7_600)],
  ])('leaves no capacity when too many %s are set aside', async (_, deliveries, userAgent) => {
    await holdAdvertiser();
    const delivered: Promise<void>[] = [];
    const clicks = () => Array.from({ length: 500 }, () => spool.click({ ad: locked.ad, userAgent }));
    for (let count = 0; count < deliveries; count += 1) {
      await dispatcher.waitForCapacity();
      delivered.push(dispatcher.submit(clicks()));
    }
    let hasCapacity = false;
    void dispatcher.waitForCapacity().then(() => {
      hasCapacity = true;
    });
    // It is the last in the lane, so all clicks before it are set aside when it is charged.
    await dispatcher.submit([spool.click({ ad: other.ad })]);
    await dispatcher.submit([spool.click({ ad: other.ad })]);
    expect(hasCapacity).toBe(false);
    expect(problems()).toContain(`settlement for advertiser ${locked.advertiser.id} (Test advertiser)`);
    dispatcher.abort();
    expect((await Promise.allSettled(delivered)).every(({ status }) => status === 'rejected')).toBe(true);
  });

  it('is abandoned if the source says so, and is dropped if the source aborts', async () => {
    await holdAdvertiser();
    const batch = mixed(10);
    await expect(dispatcher.submit(batch, undefined, { abandonLocked: true })).rejects.toMatchObject({
      code: ADVERTISER_LOCKED,
    });
    expect(await charged(other)).toBe(5);
    const gone = new AbortController();
    const kept = dispatcher.submit(batch, gone.signal);
    gone.abort();
    await expect(kept).rejects.toMatchObject({ code: STOPPING });
    await holder.query('commit');
    await expect.poll(() => dispatcher.unlockedCount(), { timeout: 5_000 }).toBe(1);
    await dispatcher.submit(batch);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 10 });
  });

  it('keeps its chunks in the Postgres broker, while all others are charged', async () => {
    const publish = (records: readonly ReadRecord[]) =>
      database.pool.query('insert into broker_chunk (record_count, payload) values ($1, $2)', [
        records.length,
        encodeChunk(records),
      ]);
    await holdAdvertiser();
    for (let chunk = 0; chunk < 6; chunk += 1) await publish(mixed(4));
    const source = createPostgresSource(pool, dispatcher, { windowMs: 10, batchSize: 4 }, { logger: silent });
    const running = source.run();
    await expect.poll(() => charged(other)).toBe(12);
    await publish([spool.click({ ad: other.ad })]);
    await expect.poll(() => charged(other)).toBe(13);
    expect(await charged(locked)).toBe(0);
    await holder.query('commit');
    await expect.poll(() => charged(locked), { timeout: 5_000 }).toBe(12);
    await expect
      .poll(
        async () => (await database.pool.query('select from broker_chunk where settled_at is null')).rowCount,
      )
      .toBe(0);
    await source.stop();
    await running;
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 25, inFlight: 0 });
  });
});

it('a lock of a whole table blocks all clicks, names no advertiser, and all are charged afterwards', async () => {
  await addAdvertiser(database.pool, 'More', 'USD');
  await holder.query('lock table ledger in access exclusive mode');
  const delivered = dispatcher.submit(mixed(4));
  await expect.poll(problems).not.toEqual([]);
  expect(problems().filter((what) => what.includes('advertiser'))).toEqual([]);
  await holder.query('commit');
  await delivered;
  expect(await expectBalanced(database.pool)).toMatchObject({ charged: 4 });
});

describe('the locked advertisers', () => {
  const lockTimeout = Object.assign(new Error('lock timeout'), { code: '55P03' });
  const stop = { now: new AbortController() };
  let freed: (number | string[])[];
  let advertisers: LockedAdvertisers<string>;
  beforeEach(() => {
    stop.now = new AbortController();
    freed = [];
    advertisers = new LockedAdvertisers<string>(pool, {
      logger: silent,
      stopping: stop.now.signal,
      onUnlocked: (waiting, advertiserId) => void freed.push(advertiserId, waiting),
    });
  });
  afterEach(() => stop.now.abort());
  const clicks = () => [spool.click({ ad: locked.ad }), spool.click({ ad: other.ad })];
  /** Resolves after `count` more checks of the locks. */
  const looks = async (count: number) => {
    let seen = 0;
    const see = () => {
      seen += 1;
    };
    pool.on('release', see);
    await expect.poll(() => seen, { interval: 5, timeout: 5_000 }).toBeGreaterThanOrEqual(count);
    pool.off('release', see);
    await new Promise((resolve) => setImmediate(resolve));
  };

  it('stay locked as long as their rows are locked, however often that is checked', async () => {
    await holdAdvertiser();
    expect(await advertisers.detect(lockTimeout, clicks())).toBe(true);
    advertisers.hold(locked.advertiser.id, 'a click');
    await looks(1);
    expect([advertisers.ids, freed]).toEqual([[locked.advertiser.id], []]);
  });

  it('keep the clicks set aside when another charge finds the same lock', async () => {
    await holdAdvertiser();
    expect(await advertisers.detect(lockTimeout, clicks())).toBe(true);
    advertisers.hold(locked.advertiser.id, 'a click');
    expect(await advertisers.detect(lockTimeout, clicks())).toBe(true);
    await holder.query('commit');
    await expect.poll(() => freed, { timeout: 5_000 }).toEqual([locked.advertiser.id, ['a click']]);
  });

  it('are unlocked a second time, too', async () => {
    for (let turn = 1; turn <= 2; turn += 1) {
      await holder.query('begin');
      await holdAdvertiser();
      expect(await advertisers.detect(lockTimeout, clicks())).toBe(true);
      await holder.query('commit');
      await expect.poll(() => advertisers.unlockedCount, { timeout: 5_000 }).toBe(turn);
    }
  });

  it('stay locked while the database does not answer', async () => {
    await holdAdvertiser();
    expect(await advertisers.detect(lockTimeout, clicks())).toBe(true);
    const connect = vi.spyOn(pool, 'connect').mockImplementation(() => Promise.reject(new Error('away')));
    await holder.query('commit');
    await expect.poll(() => connect.mock.calls.length, { timeout: 5_000 }).toBeGreaterThan(0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(freed).toEqual([]);
    connect.mockRestore();
    await expect.poll(() => advertisers.unlockedCount, { timeout: 5_000 }).toBe(1);
  });

  it('are none after another error, a short lock, or a lock of a whole table', async () => {
    await holdAdvertiser();
    expect(await advertisers.detect(new Error('other'), clicks())).toBe(false);
    const detected = advertisers.detect(lockTimeout, clicks());
    await looks(1);
    await holder.query('commit');
    expect(await detected).toBe(false);
    await holder.query('begin; lock table advertiser in access exclusive mode');
    expect(await advertisers.detect(lockTimeout, clicks())).toBe(false);
    expect([advertisers.ids, advertisers.problems]).toEqual([[], []]);
  });

  it('are named in problems, at most ten of them', async () => {
    const accounts = [locked];
    while (accounts.length < 12) accounts.push(await addAccount(database.pool));
    const ids = accounts.map(({ advertiser }) => advertiser.id);
    const named = ids.map((id) => `${id} (Test advertiser)`);
    await holder.query('select from advertiser where id = any($1) for update', [ids]);
    await advertisers.detect(
      lockTimeout,
      accounts.map(({ ad }) => spool.click({ ad })),
    );
    expect(advertisers.problems.map(({ what }) => what)).toEqual([
      `settlement for advertisers ${named.slice(0, 10).join(', ')} and 2 more`,
    ]);
  });
});
