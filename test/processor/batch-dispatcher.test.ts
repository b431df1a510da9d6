import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { STOPPING } from '../../brokers/event-source.ts';
import { expectBalanced, untilWaitingForLock } from '../support/charge-batch.ts';
import { addAccount } from '../support/database.ts';
import { dispatcherFixture } from '../support/dispatcher-fixture.ts';
import { unreadableRecord } from '../support/records.ts';

const fixtures = dispatcherFixture();

describe('a dispatcher', () => {
  it('assigns clicks to its lanes, charges each once, and counts the outcomes', async () => {
    const fixture = fixtures.current();
    const clicks = fixture.someClicks(230);
    await fixture.submitTwice([
      ...clicks,
      unreadableRecord(Buffer.from('x'), fixture.spool.next()),
      fixture.spool.watermark(),
    ]);
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({
      charged: 230,
      rejected: 1,
      accepted: 231,
    });
    const { values } = await fixture.metrics.clicks.get();
    expect(values.map(({ labels, value }) => [labels.outcome, labels.reason, value])).toEqual(
      expect.arrayContaining([
        ['charged', '', 230],
        ['rejected', 'malformed', 1],
      ]),
    );
    expect((await fixture.metrics.duplicates.get()).values[0]?.value).toBe(231);
  });

  it('rejects unsettled submissions when it is aborted, and another dispatcher charges their clicks', async () => {
    const fixture = fixtures.current();
    await fixture.database.pool.query('alter table ledger rename to ledger_away');
    const clicks = fixture.someClicks(10);
    const delivered = fixture.dispatcher.submit(clicks);
    await expect.poll(() => fixture.retries('transient')).toBeGreaterThanOrEqual(2);
    fixture.dispatcher.abort();
    await expect(delivered).rejects.toMatchObject({ code: STOPPING });
    await fixture.database.pool.query('alter table ledger_away rename to ledger');
    await fixture.newDispatcher().submit(clicks);
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 10 });
  });

  it('merges submissions that wait for the same lane into one batch of at most `batchSize` records', async () => {
    const fixture = fixtures.current();
    fixture.dispatcher = fixture.newDispatcher({ batchSize: 50, lanes: 1 });
    const blocker = await fixture.database.pool.connect();
    await blocker.query('begin');
    await blocker.query('select from advertiser for update');
    const deliveries = Array.from({ length: 21 }, () => fixture.dispatcher.submit(fixture.someClicks(10)));
    await expect
      .poll(async () => {
        const { rows } = await fixture.database.pool.query(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        );
        return rows.length;
      })
      .toBe(1);
    await blocker.query('commit');
    blocker.release();
    await Promise.all(deliveries);
    const { values } = await fixture.metrics.batchSize.get();
    const value = (name: string) => values.find(({ metricName }) => metricName?.endsWith(name))?.value;
    expect(value('_sum')).toBe(210);
    // The first ten alone, and then all that came while those were settled.
    expect(value('_count')).toBe(5);
    expect(await expectBalanced(fixture.database.pool)).toMatchObject({ charged: 210 });
  });

  describe('with several lanes', () => {
    /** The number of clicks of each transaction, ascending. */
    async function transactions(): Promise<number[]> {
      const { rows } = await fixtures
        .current()
        .database.pool.query<{ clicks: number }>(
          'select count(*)::int as clicks from ledger group by xmin::text order by 1',
        );
      return rows.map(({ clicks }) => clicks);
    }

    it('charges what one batch holds in one transaction, and more in one for each lane', async () => {
      const fixture = fixtures.current();
      await fixture.dispatcher.submit(fixture.someClicks(48));
      expect(await transactions()).toEqual([48]);
      await fixture.dispatcher.submit(fixture.someClicks(60));
      expect(await transactions()).toEqual([30, 30, 48]);
      const large = fixture.newDispatcher({ batchSize: 8_000 });
      await large.submit(fixture.someClicks(1_000));
      await large.submit(fixture.someClicks(1_004));
      expect(await transactions()).toEqual([30, 30, 48, 502, 502, 1_000]);
    });

    it('lets what comes in the meantime wait, so that no transaction waits for another one', async () => {
      const fixture = fixtures.current();
      const { pool } = fixture.database;
      const blocker = await pool.connect();
      await blocker.query('begin');
      await blocker.query('select from advertiser where id = $1 for update', [fixture.ad(0).advertiserId]);
      const first = fixture.dispatcher.submit(fixture.someClicks(8));
      await untilWaitingForLock(pool);
      const second = fixture.dispatcher.submit(fixture.someClicks(12));
      await sleep(200);
      const { rows } = await pool.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      expect(rows).toHaveLength(1);
      await blocker.query('commit');
      blocker.release();
      await Promise.all([first, second]);
      expect(await transactions()).toEqual([8, 12]);
      expect(await expectBalanced(pool)).toMatchObject({ charged: 20 });
    });

    it('waits for a locked advertiser with its own lane alone', async () => {
      const fixture = fixtures.current();
      const { pool } = fixture.database;
      const blocker = await pool.connect();
      await blocker.query('begin');
      await blocker.query('select from advertiser where id = $1 for update', [fixture.ad(0).advertiserId]);
      const beganAt = performance.now();
      const delivered = fixture.dispatcher.submit(fixture.someClicks(8));
      await expect.poll(transactions).toEqual([4]);
      expect(performance.now() - beganAt).toBeLessThan(8_000);
      await blocker.query('commit');
      blocker.release();
      await delivered;
      expect(await transactions()).toEqual([4, 4]);
      expect(await expectBalanced(pool)).toMatchObject({ charged: 8 });
    });

    it('splits a batch that fails by lane, and joins them again afterwards', async () => {
      const fixture = fixtures.current();
      const refused = fixture.someClicks(4);
      await fixture.refuseRows(`new.click_id = '${refused[0]?.click.clickId}'`);
      await fixture.dispatcher.submit(refused);
      // The lane of the refused click has two clicks.
      expect(await transactions()).toEqual([1, 2]);
      expect(await fixture.letters()).toHaveLength(1);
      await fixture.dispatcher.submit(fixture.someClicks(40));
      expect(await transactions()).toEqual([1, 2, 40]);
    });
  });

  it('counts clicks in the batch size, but no watermarks', async () => {
    const fixture = fixtures.current();
    fixture.dispatcher = fixture.newDispatcher({ lanes: 1 });
    const click = fixture.spool.click({ ad: (await addAccount(fixture.database.pool)).ad });
    await fixture.dispatcher.submit([fixture.spool.watermark()]);
    await fixture.dispatcher.submit([click, fixture.spool.watermark()]);
    const { values } = await fixture.metrics.batchSize.get();
    const value = (name: string) => values.find(({ metricName }) => metricName?.endsWith(name))?.value;
    expect([value('_sum'), value('_count')]).toEqual([1, 1]);
  });

  it('has no capacity while too many records are unsettled, and has it again once they are settled', async () => {
    const fixture = fixtures.current();
    fixture.dispatcher = fixture.newDispatcher({ batchSize: 10, lanes: 1 });
    await fixture.database.pool.query('alter table ledger rename to ledger_away');
    await fixture.dispatcher.waitForCapacity();
    const delivered = fixture.dispatcher.submit(fixture.someClicks(1_000));
    let waitForCapacity = false;
    const waiting = fixture.dispatcher.waitForCapacity().then(() => {
      waitForCapacity = true;
    });
    await expect.poll(() => fixture.retries('transient')).toBeGreaterThanOrEqual(2);
    expect(waitForCapacity).toBe(false);
    const impatient = new AbortController();
    const given = fixture.dispatcher.waitForCapacity(impatient.signal);
    impatient.abort();
    await given;
    expect(waitForCapacity).toBe(false);
    await fixture.database.pool.query('alter table ledger_away rename to ledger');
    await Promise.all([delivered, waiting]);
    await fixture.dispatcher.waitForCapacity();
  });

  it('has no capacity while too many bytes are unsettled', async () => {
    const fixture = fixtures.current();
    await fixture.database.pool.query('alter table dead_letter rename to dead_letter_away');
    const large = Array.from({ length: 5 }, () => unreadableRecord(Buffer.alloc(8_000_000), null));
    const delivered = fixture.dispatcher.submit(large);
    let waitForCapacity = false;
    const waiting = fixture.dispatcher.waitForCapacity().then(() => {
      waitForCapacity = true;
    });
    await expect.poll(() => fixture.retries('transient')).toBeGreaterThanOrEqual(1);
    expect(waitForCapacity).toBe(false);
    await fixture.database.pool.query('alter table dead_letter_away rename to dead_letter');
    await Promise.all([delivered, waiting]);
    expect(await fixture.letters()).toHaveLength(5);
  });

  it('drops the records of an aborted submission that no batch holds yet, and frees their capacity', async () => {
    const fixture = fixtures.current();
    fixture.dispatcher = fixture.newDispatcher({ batchSize: 10, lanes: 1 });
    await fixture.database.pool.query('alter table ledger rename to ledger_away');
    const partition = new AbortController();
    const lost = fixture.dispatcher.submit(fixture.someClicks(1_000), partition.signal);
    const kept = fixture.someClicks(5);
    const delivered = fixture.dispatcher.submit(kept);
    await expect.poll(() => fixture.retries('transient')).toBeGreaterThanOrEqual(1);
    partition.abort();
    await expect(lost).rejects.toMatchObject({ code: STOPPING });
    await fixture.database.pool.query('alter table ledger_away rename to ledger');
    await delivered;
    await fixture.dispatcher.waitForCapacity();
    const { rows } = await fixture.database.pool.query<{ count: number }>(
      'select count(*)::int as count from ledger',
    );
    expect(rows[0]?.count).toBeGreaterThanOrEqual(5);
    expect(rows[0]?.count).toBeLessThanOrEqual(15);
    await expect(fixture.dispatcher.submit(kept, partition.signal)).rejects.toMatchObject({ code: STOPPING });
  });
});
