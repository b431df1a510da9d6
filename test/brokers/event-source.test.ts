import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { clickKey } from '../../contract/click-event.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { until } from '../support/until.ts';
import { type Server, SLOTS } from './broker.ts';
import { drivers } from './brokers.ts';
import {
  backUp,
  countSettled,
  expectAllCharged,
  expectTrueBooks,
  gate,
  restore,
  type Submit,
  slowDown,
  type TestEnvironment,
  untilCheckpointed,
  untilSettled,
  withEnvironment,
} from './test-environment.ts';

const CHILD = 'test/brokers/children/consumer.ts';
/** The first start can include a download of Kafka. */
const START_MS_MAX = 120_000;
/** The coarsest clock of a broker, in ms. */
const CLOCK_STEP_MS = 10;

describe.each(drivers)('$name', ({ driver, skipped }) => {
  let server: Server;
  beforeAll(async () => {
    if (!skipped) server = await driver.start();
  }, START_MS_MAX);
  afterAll(() => server?.stop());

  // These tests mostly wait for timers, so they run side by side, each in its own environment.
  describe.skipIf(skipped).concurrent('source', () => {
    const on = (title: string, work: (environment: TestEnvironment) => Promise<void>) =>
      it(title, { timeout: 120_000 }, () => withEnvironment(server, work));
    /** For brokers with checkpoints, which keep settled records. */
    const withCheckpoints: typeof on = driver.hasCheckpoints ? on : () => undefined;

    on(
      'acknowledges no record before its commit, even if a later batch is settled first',
      async (environment) => {
        const { database, broker, clicks } = environment;
        const held = gate();
        const reached = gate();
        let deliveries = 0;
        const holdFirst =
          (submit: Submit): Submit =>
          async (records, signal) => {
            deliveries += 1;
            if (deliveries === 1) {
              reached.open();
              await held.opened;
            }
            await submit(records, signal);
          };
        const consumer = await environment.consume({ wrap: holdFirst });
        await broker.publishTo(0, clicks(20));
        await reached.opened;
        await broker.publishTo(0, clicks(30));
        await untilSettled(database.pool, 30, consumer);
        await untilCheckpointed(environment);
        await broker.publisher.publishEverywhere(environment.spool.watermark());
        // The slow batch is still in the broker, and reconciliation counts it as in flight.
        const reconciliation = await expectTrueBooks(environment);
        expect(reconciliation).toMatchObject({ accepted: environment.spool.accepted, inFlight: 20 });
        expect(reconciliation.charged).toBe(environment.spool.accepted - 20);
        held.open();
        await untilSettled(database.pool, environment.spool.accepted, consumer);
        await consumer.stop();
        await expectAllCharged(environment);
        expect(await consumer.duplicates()).toBe(0);
      },
    );

    on('a crash before the commit repeats the batch and charges each click once', async (environment) => {
      await environment.publishEverySlot(20);
      const { ended } = await environment.run({ script: CHILD, env: { CRASH: 'before' } });
      expect(await ended).toBe(null);
      expect(await countSettled(environment.database.pool)).toBe(0);
      const consumer = await environment.consume();
      await untilSettled(environment.database.pool, environment.spool.accepted, consumer);
      await expectAllCharged(environment);
      expect(await consumer.duplicates()).toBe(0);
    });

    on(
      'a crash between the commit and the checkpoint repeats the batch and charges nothing twice',
      async (environment) => {
        await environment.publishEverySlot(20);
        const { ended } = await environment.run({ script: CHILD, env: { CRASH: 'after' } });
        expect(await ended).toBe(null);
        const settled = await countSettled(environment.database.pool);
        expect(settled).toBeGreaterThan(0);
        const consumer = await environment.consume();
        await untilSettled(environment.database.pool, environment.spool.accepted, consumer);
        await until(`${settled} copies`, async () => (await consumer.duplicates()) === settled);
        await expectAllCharged(environment);
      },
    );

    on('tells when each click was published', async ({ database, broker, clicks, consume }) => {
      const beganAt = Date.now();
      await broker.publishTo(0, clicks(20));
      const endedAt = Date.now();
      await untilSettled(database.pool, 20, await consume());
      const { rows } = await database.pool.query<{ at: Date | null }>(
        'select published_at as at from click_evidence',
      );
      expect(rows).toHaveLength(20);
      for (const { at } of rows) {
        // The clock of a broker can be rounded down.
        expect(at?.getTime()).toBeGreaterThanOrEqual(beganAt - CLOCK_STEP_MS);
        expect(at?.getTime()).toBeLessThanOrEqual(endedAt);
      }
    });

    on(
      'delivers a slow batch again if its consumer dies after a later, fast batch was settled',
      async (environment) => {
        const { database, broker, clicks } = environment;
        const { printed, kill } = await environment.run({ script: CHILD, env: { CRASH: 'hold' } });
        await broker.publishTo(0, clicks(20));
        await until('the processor to hold a batch', () => printed().includes('held'));
        await broker.publishTo(0, clicks(30));
        await untilSettled(database.pool, 30);
        await untilCheckpointed(environment);
        await kill('SIGKILL');
        expect((await expectTrueBooks(environment)).inFlight).toBe(20);
        const consumer = await environment.consume();
        await untilSettled(database.pool, environment.spool.accepted, consumer);
        await expectAllCharged(environment);
      },
    );

    on('survives kill -9 of the processor in the middle of a backlog', async (environment) => {
      const { pool } = environment.database;
      await slowDown(pool, 0.1);
      const total = await publishBacklog(environment);
      const first = await environment.run({ env: { BATCH_SIZE: '20' } });
      await until('some settled clicks', async () => (await countSettled(pool)) > 60);
      await first.kill('SIGKILL');
      expect(await countSettled(pool)).toBeLessThan(total);
      await expectTrueBooks(environment);
      await environment.run();
      await untilSettled(pool, total);
      await expectAllCharged(environment);
    });

    on(
      'drains on SIGTERM: the records that were read are settled and are not read again',
      async (environment) => {
        const { pool } = environment.database;
        await slowDown(pool, 0.1);
        await publishBacklog(environment);
        const first = await environment.run({ env: { BATCH_SIZE: '20' } });
        await until('some settled clicks', async () => (await countSettled(pool)) > 60);
        const ended = first.kill('SIGTERM');
        const total = await publishBacklog(environment);
        const code = await ended;
        expect({ code, printed: first.printed() }).toMatchObject({ code: 0 });
        expect(await countSettled(pool)).toBeLessThan(total);
        const consumer = await environment.consume();
        await untilSettled(pool, total, consumer);
        await consumer.stop();
        expect(await consumer.duplicates()).toBe(0);
        await expectAllCharged(environment);
      },
    );

    on('continues after the last settled record, and reads no record twice', async (environment) => {
      const { pool } = environment.database;
      for (let round = 1; round <= 3; round += 1) {
        await environment.publishEverySlot(10);
        const consumer = await environment.consume();
        await untilSettled(pool, environment.spool.accepted, consumer);
        await consumer.stop();
        expect(await consumer.duplicates()).toBe(0);
        expect(consumer.failure()).toBe(null);
      }
      await expectAllCharged(environment);
    });

    on('begins with the first record if there is no checkpoint', async (environment) => {
      await environment.publishEverySlot(30);
      const consumer = await environment.consume();
      await untilSettled(environment.database.pool, environment.spool.accepted, consumer);
      await expectAllCharged(environment);
    });

    withCheckpoints(
      'reads from the first record when the checkpoints or group offsets are deleted',
      async (environment) => {
        const { pool } = environment.database;
        for (const [what, deletePositions] of Object.entries(environment.broker.deletePositions)) {
          await environment.publishEverySlot(10);
          const before = await environment.consume();
          await untilSettled(pool, environment.spool.accepted, before);
          await before.stop();
          await environment.publishEverySlot(10);
          await deletePositions(pool);
          const after = await environment.consume();
          await untilSettled(pool, environment.spool.accepted, after);
          await after.stop();
          expect([what, (await after.duplicates()) > 0]).toEqual([what, true]);
        }
        await expectAllCharged(environment);
      },
    );

    on(
      'charges again the clicks that a restored ledger has lost, and reads again after a rewind',
      async (environment) => {
        const { pool } = environment.database;
        const since = new Date(Date.now() - 1_000);
        const partOne = await environment.publishEverySlot(10);
        const first = await environment.consume();
        await untilSettled(pool, partOne, first);
        await first.stop();
        const backup = await backUp(environment);
        const partTwo = await environment.publishEverySlot(10);
        const second = await environment.consume();
        await untilSettled(pool, partOne + partTwo, second);
        await second.stop();

        const restored = await environment.consume({ env: { DATABASE_URL: backup.url } });
        // The Postgres broker is restored with the ledger, so clicks that were published since are lost.
        const held = driver.hasCheckpoints ? partOne + partTwo : partOne;
        await untilSettled(backup.pool, held, restored);
        expect(await restored.duplicates()).toBe(0);
        for (const backlogs of environment.broker.backlogs) await backlogs.rewind(backup.pool, since);
        await until('all to be read again', async () => (await restored.duplicates()) >= held);
        const reconciliation = await expectTrueBooks(environment, backup.pool);
        expect(reconciliation).toMatchObject({ charged: held, inFlight: 0 });
        expect(restored.failure()).toBe(null);
      },
    );

    withCheckpoints(
      'detects that the ledger was restored from a backup, and charges the lost clicks again',
      async (environment) => {
        const { pool } = environment.database;
        const consumer = await environment.consume();
        await environment.publishEverySlot(10);
        await untilSettled(pool, environment.spool.accepted, consumer);
        await untilCheckpointed(environment);
        const backup = await backUp(environment);
        await environment.publishEverySlot(10);
        await untilSettled(pool, environment.spool.accepted, consumer);
        await untilCheckpointed(environment);
        await restore(environment, backup);
        await environment.publishEverySlot(1);
        await untilSettled(pool, environment.spool.accepted, consumer);
        await expectAllCharged(environment);
        expect(consumer.failure()).toBe(null);
      },
    );

    on('is shared by consumers that join, stop or are killed', async (environment) => {
      const { pool } = environment.database;
      const taken = { one: 0, two: 0 };
      const counting =
        (who: keyof typeof taken) =>
        (submit: Submit): Submit =>
        async (records, signal) => {
          await submit(records, signal);
          taken[who] += records.filter(({ is }) => is === 'click').length;
        };
      /** Publishes to every partition until `holds` resolves to true. */
      const publishUntil = async (what: string, holds: () => boolean | Promise<boolean>) => {
        await until(
          what,
          async () => {
            await environment.publishEverySlot(2);
            return holds();
          },
          40_000,
        );
        await untilSettled(pool, environment.spool.accepted);
      };
      const one = await environment.consume({ wrap: counting('one') });
      await publishUntil('the first to work', () => taken.one > 0);
      const two = await environment.consume({ wrap: counting('two') });
      await publishUntil('the second to work', () => taken.two > 0);
      const before = { ...taken };
      await publishUntil('both to work', () => taken.one > before.one && taken.two > before.two);
      await two.stop();
      await environment.publishEverySlot(5);
      await untilSettled(pool, environment.spool.accepted, one);

      const three = await environment.run();
      await publishUntil('the third to work', async () => {
        return (await countSettled(pool)) > taken.one + taken.two + SLOTS * 2;
      });
      await three.kill('SIGKILL');
      await environment.publishEverySlot(5);
      await untilSettled(pool, environment.spool.accepted, one);
      await expectAllCharged(environment);
      expect([one.failure(), two.failure()]).toEqual([null, null]);
    });

    on(
      'stores poison and foreign records as dead letters with all their bytes, and charges the others',
      async (environment) => {
        const { broker, clicks, database, spool } = environment;
        const poison = clicks(1);
        await database.pool.query(
          `create function refuse() returns trigger language plpgsql as $$ begin
           if new.click_id = '${poison[0]?.click.clickId}' then raise exception 'refused'; end if; return new; end $$`,
        );
        await database.pool.query(
          'create trigger refuse before insert on ledger for each row execute function refuse()',
        );
        const large = Buffer.alloc(900_000, 'x');
        const garbage = Buffer.from([0, 255, 1, 254]);
        const { spoolId: id, sequence } = spool.next();
        const foreign = [
          { key: 'foreign', value: Buffer.from('{"order": 7}') },
          { key: 'too large', value: large },
          { key: 'garbage', value: garbage },
          { key: clickKey(id, sequence), value: garbage },
          { key: uuidV7(), value: Buffer.from('null') },
        ];
        await broker.publishTo(1, [...clicks(5), ...foreign, ...clicks(5), ...poison, ...clicks(5)]);
        const consumer = await environment.consume();
        await untilSettled(database.pool, 15, consumer);
        const letters = async () =>
          (await database.pool.query('select record_key, reason, raw, identity from dead_letter order by id'))
            .rows;
        await until('six dead letters', async () => (await letters()).length === 6);
        const found = new Map((await letters()).map(({ record_key, ...letter }) => [record_key, letter]));
        for (const { key, value } of foreign) {
          expect(found.get(key)).toMatchObject({ reason: 'malformed' });
          expect(value.equals(found.get(key).raw)).toBe(true);
        }
        // A record without a key of Tollway is identified by its position and its bytes.
        const { identity } = found.get('foreign');
        const hash = createHash('sha256').update('{"order": 7}').digest('hex');
        const [, place, bytes] = /^position (.*) ([0-9a-f]{16})$/.exec(identity) ?? [];
        expect(place).toMatch(broker.place(1));
        expect(bytes).toBe(hash.slice(0, 16));
        expect(found.get(poison[0]?.key)).toMatchObject({ reason: 'poison', raw: poison[0]?.value });
        await broker.publisher.publishEverywhere(spool.watermark());
        const reconciliation = await expectTrueBooks(environment);
        expect(reconciliation).toMatchObject({ charged: 15, rejected: 2, inFlight: 0 });
        expect(consumer.failure()).toBe(null);
      },
    );

    on('reports the number of waiting records and the age of the oldest', async (environment) => {
      const { ads, broker, spool, clicks } = environment;
      const held = gate();
      let taken = 0;
      const { source } = await environment.consume({
        wrap: (submit) => async (records, signal) => {
          taken += records.length;
          await held.opened;
          await submit(records, signal);
        },
      });
      const hourAgo = Date.now() - 3_600_000;
      const [ad] = ads;
      if (!ad) throw new Error('Expected an ad');
      const late = spool.click({ ad, clickedAt: hourAgo });
      await broker.publishTo(0, [late, ...clicks(28)]);
      await until('all to be taken', () => taken === 29);
      const slots = driver.hasCheckpoints ? SLOTS : 1;
      await until('every partition', async () => (await source.lag()).partitions.length === slots);
      const { records, oldestAgeSeconds, partitions } = await source.lag();
      expect(records).toBe(29);
      expect(oldestAgeSeconds).toBeGreaterThanOrEqual(3_600);
      expect(oldestAgeSeconds).toBeLessThan(3_700);
      expect(partitions.every(({ isAssigned }) => isAssigned)).toBe(true);
      const waiting = partitions.filter((partition) => partition.records > 0);
      expect(waiting).toMatchObject([{ records: 29, oldestAgeSeconds }]);
      held.open();
      await until('no lag', async () => {
        const lag = await source.lag();
        return lag.records === 0 && lag.oldestAgeSeconds === 0;
      });
      expect(await countSettled(environment.database.pool)).toBe(29);
    });

    withCheckpoints('follows START_POSITION at the first start only', async (environment) => {
      const { pool } = environment.database;
      const env = { START_POSITION: 'latest' };
      const skipped = await environment.publishEverySlot(5);
      const first = await environment.consume({ env });
      const begun = async () => (await pool.query('select from broker_checkpoint')).rowCount === SLOTS;
      await until('a beginning', begun);
      await environment.publishEverySlot(5);
      await untilSettled(pool, environment.spool.accepted - skipped, first);
      await first.stop();
      await environment.publishEverySlot(5);
      const second = await environment.consume({ env });
      await untilSettled(pool, environment.spool.accepted - skipped, second);
      // Reconciliation counts the skipped clicks as missing once a watermark has arrived.
      await environment.broker.publisher.publishEverywhere(environment.spool.watermark());
      const query = () => reconcile(pool, { brokers: environment.broker.backlogs });
      await until('the watermark', async () => (await query()).missing > 0, 10_000);
      await second.stop();
      expect(await countSettled(pool)).toBe(environment.spool.accepted - skipped);
      expect(await query()).toMatchObject({ balanced: true, missing: skipped });
    });
  });
});

/** Publishes 600 clicks in many small pieces. Returns how many clicks there are in all. */
async function publishBacklog(environment: TestEnvironment): Promise<number> {
  for (let round = 0; round < 20; round += 1) await environment.publishEverySlot(10);
  return environment.spool.accepted;
}
