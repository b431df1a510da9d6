import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { quarantine } from '../../processor/charge/quarantine.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { expectBalanced, outcomeText } from '../support/charge-batch.ts';
import {
  type Account,
  addAccount,
  addAdTo,
  createTestDatabase,
  type TestDatabase,
} from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord, TestSpool, unreadableRecord } from '../support/records.ts';
import { until } from '../support/until.ts';

const OPTIONS = { clickAgeMaxDays: 14, retryAttempts: 1 };
let database: TestDatabase & { drop: () => Promise<void> };
let accounts: [Account, Account];
let spool: TestSpool;
beforeEach(async () => {
  database = await createTestDatabase();
  accounts = [
    await addAccount(database.pool, { budget: '10000.00' }),
    await addAccount(database.pool, { budget: '10000.00' }),
  ];
  spool = new TestSpool();
});
afterEach(() => database.drop());

const settle = async (batch: readonly ReadRecord[]) =>
  (await chargeClicks(database.pool, batch, OPTIONS)).outcomes.map(outcomeText);

const someClicks = (count: number) =>
  Array.from({ length: count }, (_, index) => spool.click({ ad: accounts[index % 2 === 0 ? 0 : 1].ad }));

function dispatcherOn(pool: Pool, metrics = createMetrics()): BatchDispatcher {
  const deps = { metrics, logger: silent, onInvariant: () => {} };
  return new BatchDispatcher(pool, { batchSize: 50, lanes: 2, ...OPTIONS }, deps);
}

describe('two records with one key', () => {
  it('settle its sequence once if both are rejected in one batch', async () => {
    const from = spool.next();
    const click = clickRecord({ ad: { ...accounts[0].ad, id: 99_999 }, from });
    await settle([unreadableRecord(Buffer.from('x'), from), click]);
    await expectBalanced(database.pool);
  });

  it('settle its sequence once if two lanes settle them at the same time', async () => {
    const dispatcher = dispatcherOn(database.pool);
    for (let round = 0; round < 15; round += 1) {
      const lone = new TestSpool();
      const from = lone.next();
      // The bytes go to the first lane, the click to that of its advertiser.
      const clicks = accounts.map(({ ad }) => clickRecord({ ad, from }));
      const [click] = clicks.filter(({ click: { advertiserId } }) => advertiserId % 2 === 1);
      if (!click) throw new Error('Expected an advertiser of the second lane');
      await dispatcher.submit([click, unreadableRecord(Buffer.from('x'), from)]);
    }
    await expectBalanced(database.pool);
  });

  it('are one click if a copy without a key was rejected first', async () => {
    const click = spool.click({ ad: { ...accounts[1].ad, id: accounts[1].ad.id + 1 } });
    expect(await settle([{ ...click, key: null, from: null }])).toEqual(['rejected: unknown_ad']);
    await addAdTo(database.pool, accounts[1].campaign);
    expect(await settle([click])).toEqual(['duplicate']);
  });
});

describe('a dispatcher', () => {
  it('charges clicks after a connection has lost its prepared statements, as behind a pooler', {
    timeout: 40_000,
  }, async () => {
    const pool = createPool(database.url, 'test', 6, () => {});
    const dispatcher = dispatcherOn(pool);
    await dispatcher.submit(someClicks(100));
    await pool.query('deallocate all');
    await dispatcher.submit(someClicks(400));
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 500, rejected: 0 });
    await pool.end();
  });

  it('charges clicks after a change of the schema that its prepared statements use', {
    timeout: 40_000,
  }, async () => {
    const pool = createPool(database.url, 'test', 6, () => {});
    const dispatcher = dispatcherOn(pool);
    await dispatcher.submit(someClicks(400));
    // A migration that changes a column drops the triggers that name it.
    await database.pool.query(
      'drop trigger audit_update on advertiser; alter table advertiser alter column currency type varchar(3)',
    );
    await dispatcher.submit(someClicks(400));
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 800, rejected: 0 });
    await pool.end();
  });

  it('charges clicks after a COPY had to wait for longer than the query timeout', {
    timeout: 40_000,
  }, async () => {
    const pool = createPool(database.url, 'test', 4, () => {}, 500);
    const locker = await database.pool.connect();
    await locker.query('begin; lock table ledger in access exclusive mode');
    const metrics = createMetrics();
    const delivered = dispatcherOn(pool, metrics).submit(someClicks(100));
    await until('a retry', async () => {
      const { values } = await metrics.batchRetries.get();
      return values.some(({ labels, value }) => labels.cause === 'transient' && value > 0);
    });
    await locker.query('commit');
    locker.release();
    await delivered;
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 100, rejected: 0 });
    await pool.end();
  });
});

it('a click whose day has no partition yet waits, and one of a clock that is days ahead is rejected', async () => {
  await database.pool.query(`update ledger_window set click_ahead = now() - interval '1 hour'`);
  const [click] = someClicks(1);
  if (!click) throw new Error('Expected a click');
  await expect(settle([click])).rejects.toMatchObject({ code: 'no_partition_yet', retryable: true });
  const ahead = spool.click({ ad: accounts[0].ad, clickedAt: Date.now() + 5 * DAY_MS });
  expect(await settle([ahead])).toEqual(['rejected: id_out_of_range']);
});

it('a poison record becomes a dead letter whatever the text of its error', async () => {
  const [click] = someClicks(1);
  if (!click) throw new Error('Expected a click');
  const { outcomes } = await quarantine(database.pool, click, 'a\0b');
  expect(outcomes.map(outcomeText)).toEqual(['rejected: poison']);
});
