import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeClick } from '../../contract/click-event.ts';
import type { Spool } from '../../producer/spool.ts';
import { clickEvent } from '../support/records.ts';
import { type RelayFixture, startRelay } from '../support/relay-fixture.ts';
import { append, openSpool } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';
import type { Interruption, Server } from './broker.ts';
import { drivers } from './brokers.ts';
import {
  type Consumer,
  countSettled,
  expectTrueBooks,
  type TestEnvironment,
  untilSettled,
  withEnvironment,
} from './test-environment.ts';

/** The first start can include a download of Kafka. */
const START_MS_MAX = 120_000;

/** Without watermarks in between, so that an interruption affects a batch. */
const QUIET = { batchMax: 50, watermarkIntervalMs: 60_000 };

// An interruption of the server affects every test, so these run one after the other.
describe.each(drivers)('$name, interrupted', ({ driver, skipped }) => {
  let server: Server;
  beforeAll(async () => {
    if (!skipped) server = await driver.start();
  }, START_MS_MAX);
  afterAll(() => server?.stop());

  const on = (
    title: string,
    how: 'outage' | 'freeze',
    work: (environment: TestEnvironment, interrupt: Interruption) => Promise<void>,
  ) => {
    if (how === 'freeze' && !driver.canFreeze) return;
    it.skipIf(skipped)(title, { timeout: 120_000 }, (context) => {
      const interrupt = server[how];
      if (!interrupt) return context.skip('the tests did not start this server and cannot interrupt it');
      return withEnvironment(server, (environment) => work(environment, interrupt));
    });
  };
  /** Appends clicks until `holds` is true; returns those that were accepted. */
  const appendUntil = async (
    environment: TestEnvironment,
    spool: Spool,
    holds: () => boolean | Promise<boolean>,
  ) => {
    const ids: string[] = [];
    await until(
      'the state that the interruption is to meet',
      async () => {
        const some = environment.ads.map((ad) => clickEvent({ ad }));
        await append(spool, some.map(encodeClick));
        ids.push(...some.map(({ clickId }) => clickId));
        return holds();
      },
      30_000,
    );
    return ids;
  };
  const relayed = async ({ metrics }: RelayFixture) =>
    (await metrics.relayedClicks.get()).values[0]?.value ?? 0;
  const failures = async ({ metrics }: RelayFixture) => {
    const { values } = await metrics.relayBatches.get();
    return values.find(({ labels }) => labels.result === 'failed')?.value ?? 0;
  };
  /** Ends the relay and expects that every click arrived once, under its own id. */
  const expectAllThere = async (
    environment: TestEnvironment,
    spool: Spool,
    fixture: RelayFixture,
    ids: string[],
    consumer?: Consumer,
  ) => {
    const { pool } = environment.database;
    fixture.relay.end();
    expect(await fixture.done).toBe(true);
    await untilSettled(pool, ids.length, consumer);
    const { rows } = await pool.query<{ id: string }>('select click_id as id from ledger');
    expect(new Set(rows.map(({ id }) => id))).toEqual(new Set(ids));
    expect(spool.accepted).toBe(ids.length);
    const reconciliation = await expectTrueBooks(environment);
    expect(reconciliation).toMatchObject({ accepted: ids.length, charged: ids.length, inFlight: 0 });
    if (consumer) expect(consumer.failure()).toBe(null);
  };

  on(
    'by a crash of the server during traffic loses no click and continues by itself',
    'outage',
    async (environment, outage) => {
      const spool = openSpool();
      const fixture = startRelay(spool, environment.broker.publisher, QUIET);
      const consumer = await environment.consume();
      const settled = () => countSettled(environment.database.pool);
      const ids = await appendUntil(environment, spool, async () => (await settled()) > 50);
      await outage(environment.database, async () => {
        const [sent, failed] = [await relayed(fixture), await failures(fixture)];
        const noticed = async () =>
          (await relayed(fixture)) > sent + 50 || (await failures(fixture)) > failed;
        ids.push(...(await appendUntil(environment, spool, noticed)));
      });
      const before = await settled();
      ids.push(...(await appendUntil(environment, spool, async () => (await settled()) > before)));
      await expectAllThere(environment, spool, fixture, ids, consumer);
    },
  );

  on(
    'by a server that does not answer loses no click, is reported within 10 s and continues by itself',
    'freeze',
    async (environment, freeze) => {
      const spool = openSpool();
      const fixture = startRelay(spool, environment.broker.publisher, QUIET);
      const { child, opsUrl, printed } = await environment.run();
      const settled = () => countSettled(environment.database.pool);
      const ids = await appendUntil(environment, spool, async () => (await settled()) > 50);
      await until('readiness', async () => (await readSignal(`${opsUrl}/readyz`)).status === 200, 10_000);
      await freeze(environment.database, async () => {
        const frozenAt = performance.now();
        const isSaid = async () => {
          const [ready, metrics] = await Promise.all(
            ['readyz', 'metrics'].map((path) => readSignal(`${opsUrl}/${path}`)),
          );
          return (
            ready?.status === 503 &&
            ready.text.includes(`- ${driver.name}: `) &&
            metrics?.text.includes('\ntollway_broker_up 0\n') === true
          );
        };
        await until('the processor to name the broker', isSaid, 10_000);
        expect(performance.now() - frozenAt).toBeLessThan(10_000);
        const waiting = () => fixture.relay.oldestClickAgeMs ?? 0;
        ids.push(...(await appendUntil(environment, spool, () => waiting() > 3_000)));
      });
      const before = await settled();
      ids.push(...(await appendUntil(environment, spool, async () => (await settled()) > before)));
      await expectAllThere(environment, spool, fixture, ids);
      expect(child.exitCode, printed()).toBe(null);
      const isReady = async () => (await readSignal(`${opsUrl}/readyz`)).status === 200;
      await until('readiness again', isReady, 10_000);
    },
  );
});

/** Reads a page of an operations port; throws if the response takes a second or longer. */
async function readSignal(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(url, { signal: AbortSignal.timeout(1_000) }).catch((cause) => {
    throw new Error(`Expected an answer of ${url} within 1 s`, { cause });
  });
  return { status: response.status, text: await response.text() };
}
