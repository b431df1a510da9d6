import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BrokerRecord } from '../../contract/click-event.ts';
import { startOpenwhisk } from '../../emulators/openwhisk/runtime.ts';
import type { Server } from '../brokers/broker.ts';
import { kafkaDriver } from '../brokers/kafka-broker.ts';
import {
  countSettled,
  expectAllCharged,
  type TestEnvironment,
  untilSettled,
  withEnvironment,
} from '../brokers/test-environment.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';

const root = builtFunctions();
const skipped = isSkipped(await kafkaDriver('kafkajs').missing());
let server: Server;
beforeAll(async () => {
  if (!skipped) server = await kafkaDriver('kafkajs').start();
}, 120_000);
afterAll(() => server?.stop());

/** A feed like OpenWhisk's Kafka feed: publishes records and passes them to the action once. */
async function feed(environment: TestEnvironment, databaseUrl: string) {
  const { broker } = environment;
  const action = await startOpenwhisk({
    zip: join(root, 'openwhisk.zip'),
    params: { DATABASE_URL: databaseUrl },
  });
  environment.later(action.stop);
  let next = 0;
  return async (records: readonly BrokerRecord[], timeoutMs: number) => {
    await broker.publishTo(0, records);
    const messages = records.map(({ key, value }, index) => ({
      topic: broker.config.KAFKA_TOPIC,
      partition: 0,
      offset: next + index,
      key,
      value: String(value),
    }));
    next += records.length;
    return action.run({ messages }, { timeoutMs });
  };
}

describe.skipIf(skipped)(
  "records that OpenWhisk's feed has committed and its action could not settle",
  () => {
    it('are charged by a processor on the same topic, and after a rewind', { timeout: 120_000 }, async () => {
      await withEnvironment(server, async (environment) => {
        const { clicks, database, broker } = environment;
        const { pool } = database;
        const run = await feed(environment, database.url);
        expect(await run(clicks(20), 20_000)).toMatchObject({
          ok: true,
          result: { records: 20, settled: 20 },
        });
        await pool.query('alter table ledger rename to ledger_away');
        const first = await run(clicks(20), 2_500);
        expect(first).toMatchObject({ ok: false, status: 200 });
        expect(JSON.stringify(first)).toContain('20 of 20 records were not settled in time, from ');
        await pool.query('alter table ledger_away rename to ledger');
        expect(await run(clicks(20), 20_000)).toMatchObject({ ok: true });
        expect(await countSettled(pool)).toBe(40);

        // A new processor starts at the first record of the topic.
        const consumer = await environment.consume();
        await untilSettled(pool, 60, consumer);
        await expectAllCharged(environment);
        await consumer.stop();

        const since = new Date();
        await pool.query('alter table ledger rename to ledger_away');
        await run(clicks(5), 2_500);
        await pool.query('alter table ledger_away rename to ledger');
        for (const backlogs of broker.backlogs) await backlogs.rewind(pool, since);
        const again = await environment.consume();
        await untilSettled(pool, 65, again);
        await expectAllCharged(environment);
      });
    });
  },
);
