import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { STOPPING } from '../../brokers/event-source.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { BatchDispatcher, type DispatcherOptions } from '../../processor/dispatch/batch-dispatcher.ts';
import { expectBalanced, shuffle } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { type NamedAd, TestSpool, unreadableRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let metrics: ProcessMetrics;
let dispatcher: BatchDispatcher;
let broken: unknown[];
let ads: NamedAd[];
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  metrics = createMetrics();
  broken = [];
  dispatcher = newDispatcher();
  ads = [];
  for (let count = 0; count < 4; count += 1) ads.push((await addAccount(database.pool)).ad);
  spool = new TestSpool();
});
afterEach(async () => {
  dispatcher.abort();
  await database.drop();
});

function newDispatcher(more: Partial<DispatcherOptions> = {}, logger = silent): BatchDispatcher {
  const defaults = { batchSize: 50, lanes: 2, clickAgeMaxDays: 14, retryAttempts: 1 };
  const options = { ...defaults, ...more };
  return new BatchDispatcher(database.pool, options, {
    metrics,
    logger,
    onInvariant: (error) => broken.push(error),
  });
}

const someClicks = (count: number) =>
  Array.from({ length: count }, (_, index) => spool.click({ ad: ads[index % ads.length] ?? failed() }));

function failed(): never {
  throw new Error('Expected an ad');
}

/** Delivers everything twice, shuffled. */
async function submitTwice(records: readonly ReadRecord[]): Promise<void> {
  await dispatcher.submit(shuffle(records));
  await dispatcher.submit(shuffle(records));
}

async function retries(cause: string): Promise<number> {
  const { values } = await metrics.batchRetries.get();
  return values.find(({ labels }) => labels.cause === cause)?.value ?? 0;
}

async function letters() {
  const { rows } = await database.pool.query<{ reason: string; raw: Buffer; click_id: string }>(
    'select reason, raw, click_id from dead_letter order by id',
  );
  return rows;
}

/** Makes inserts into the ledger fail permanently: for one click, or for all. */
async function _refuseRows(condition: string): Promise<void> {
  await database.pool.query(
    `create or replace function refuse() returns trigger language plpgsql as
     $$ begin if ${condition} then raise exception 'refused'; end if; return new; end $$`,
  );
  await database.pool.query(
    'create or replace trigger refuse before insert on ledger for each row execute function refuse()',
  );
}

const _acceptRows = () => database.pool.query('drop trigger refuse on ledger');

describe('a dispatcher', () => {
  it('assigns clicks to its lanes, charges each once, and counts the outcomes', async () => {
    const clicks = someClicks(230);
    await submitTwice([...clicks, unreadableRecord(Buffer.from('x'), spool.next()), spool.watermark()]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 230, rejected: 1, accepted: 231 });
    const { values } = await metrics.clicks.get();
    expect(values.map(({ labels, value }) => [labels.outcome, labels.reason, value])).toEqual(
      expect.arrayContaining([
        ['charged', '', 230],
        ['rejected', 'malformed', 1],
      ]),
    );
    expect((await metrics.duplicates.get()).values[0]?.value).toBe(231);
  });

  it('rejects unsettled submissions when it is aborted, and another dispatcher charges their clicks', async () => {
    await database.pool.query('alter table ledger rename to ledger_away');
    const clicks = someClicks(10);
    const delivered = dispatcher.submit(clicks);
    await expect.poll(() => retries('transient')).toBeGreaterThanOrEqual(2);
    dispatcher.abort();
    await expect(delivered).rejects.toMatchObject({ code: STOPPING });
    await database.pool.query('alter table ledger_away rename to ledger');
    await newDispatcher().submit(clicks);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 10 });
  });

  it('merges submissions that wait for the same lane into one batch of at most `batchSize` records', async () => {
    dispatcher = newDispatcher({ batchSize: 50, lanes: 1 });
    const blocker = await database.pool.connect();
    await blocker.query('begin');
    await blocker.query('select from advertiser for update');
    const deliveries = Array.from({ length: 21 }, () => dispatcher.submit(someClicks(10)));
    await expect
      .poll(async () => {
        const { rows } = await database.pool.query(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        );
        return rows.length;
      })
      .toBe(1);
    await blocker.query('commit');
    blocker.release();
    await Promise.all(deliveries);
    const { values } = await metrics.batchSize.get();
    const value = (name: string) => values.find(({ metricName }) => metricName?.endsWith(name))?.value;
    expect(value('_sum')).toBe(210);
    // The first ten alone, and then all that came while those were settled.
    expect(value('_count')).toBe(5);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 210 });
  });

  it('counts clicks in the batch size, but no watermarks', async () => {
    dispatcher = newDispatcher({ lanes: 1 });
    const spool = new TestSpool();
    const click = spool.click({ ad: (await addAccount(database.pool)).ad });
    await dispatcher.submit([spool.watermark()]);
    await dispatcher.submit([click, spool.watermark()]);
    const { values } = await metrics.batchSize.get();
    const value = (name: string) => values.find(({ metricName }) => metricName?.endsWith(name))?.value;
    expect([value('_sum'), value('_count')]).toEqual([1, 1]);
  });

  it('has no capacity while too many records are unsettled, and has it again once they are settled', async () => {
    dispatcher = newDispatcher({ batchSize: 10, lanes: 1 });
    await database.pool.query('alter table ledger rename to ledger_away');
    await dispatcher.waitForCapacity();
    const delivered = dispatcher.submit(someClicks(1_000));
    let waitForCapacity = false;
    const waiting = dispatcher.waitForCapacity().then(() => {
      waitForCapacity = true;
    });
    await expect.poll(() => retries('transient')).toBeGreaterThanOrEqual(2);
    expect(waitForCapacity).toBe(false);
    const impatient = new AbortController();
    const given = dispatcher.waitForCapacity(impatient.signal);
    impatient.abort();
    await given;
    expect(waitForCapacity).toBe(false);
    await database.pool.query('alter table ledger_away rename to ledger');
    await Promise.all([delivered, waiting]);
    await dispatcher.waitForCapacity();
  });

  it('has no capacity while too many bytes are unsettled', async () => {
    await database.pool.query('alter table dead_letter rename to dead_letter_away');
    const large = Array.from({ length: 5 }, () => unreadableRecord(Buffer.alloc(8_000_000), null));
    const delivered = dispatcher.submit(large);
    let waitForCapacity = false;
    const waiting = dispatcher.waitForCapacity().then(() => {
      waitForCapacity = true;
    });
    await expect.poll(() => retries('transient')).toBeGreaterThanOrEqual(1);
    expect(waitForCapacity).toBe(false);
    await database.pool.query('alter table dead_letter_away rename to dead_letter');
    await Promise.all([delivered, waiting]);
    expect(await letters()).toHaveLength(5);
  });

  it('drops the records of an aborted submission that no batch holds yet, and frees their capacity', async () => {
    dispatcher = newDispatcher({ batchSize: 10, lanes: 1 });
    await database.pool.query('alter table ledger rename to ledger_away');
    const partition = new AbortController();
    const lost = dispatcher.submit(someClicks(1_000), partition.signal);
    const kept = someClicks(5);
    const delivered = dispatcher.submit(kept);
    await expect.poll(() => retries('transient')).toBeGreaterThanOrEqual(1);
    partition.abort();
    await expect(lost).rejects.toMatchObject({ code: STOPPING });
    await database.pool.query('alter table ledger_away rename to ledger');
    await delivered;
    await dispatcher.waitForCapacity();
    const { rows } = await database.pool.query<{ count: number }>(
      'select count(*)::int as count from ledger',
    );
    expect(rows[0]?.count).toBeGreaterThanOrEqual(5);
    expect(rows[0]?.count).toBeLessThanOrEqual(15);
    await expect(dispatcher.submit(kept, partition.signal)).rejects.toMatchObject({ code: STOPPING });
  });
});
