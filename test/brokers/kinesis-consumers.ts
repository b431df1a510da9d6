import { afterAll, beforeAll, it } from 'vitest';
import { listShards, openKinesis } from '../../brokers/kinesis/client.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { until } from '../support/until.ts';
import { type KinesisForTests, startKinesisForTests } from './kinesis-broker.ts';
import {
  type Consumer,
  gate,
  type Submit,
  type TestEnvironment,
  withEnvironment,
} from './test-environment.ts';

/** Starts Kinesis for the tests of a file. Returns `it` for tests with a stream and a database of their own. */
export function kinesisTests() {
  let server: KinesisForTests;
  beforeAll(async () => {
    server = await startKinesisForTests();
  });
  afterAll(() => server?.stop());
  return (
    title: string,
    work: (environment: TestEnvironment) => Promise<void>,
    env: Record<string, string> = {},
  ) => it(title, { timeout: 60_000 }, () => withEnvironment(server, work, env));
}

/** The shards among `shards` that have a checkpoint before their end. */
export async function unsettledAmong(pool: Pool, shards: readonly (string | undefined)[]): Promise<string[]> {
  const { rows } = await pool.query<{ partition: string }>(
    `select partition from broker_checkpoint where position <> 'end' and partition = any($1)`,
    [shards.filter((shard) => shard !== undefined)],
  );
  return rows.map(({ partition }) => partition);
}

export async function untilBegun({ broker, database }: TestEnvironment): Promise<void> {
  const client = openKinesis(broker.config);
  const shards = (await listShards(client, broker.config)).length;
  client.destroy();
  await until('a beginning in each shard', async () => {
    const { rowCount } = await database.pool.query('select from broker_checkpoint');
    return rowCount === shards;
  });
}

/** Starts a consumer that has read five clicks of each shard and does not settle them until `held` is opened. Later ones it settles. */
export async function consumeHeld(environment: TestEnvironment, env: Record<string, string> = {}) {
  const held = gate();
  let read = 0;
  const wrap =
    (submit: Submit): Submit =>
    async (records, signal) => {
      read += records.length;
      if (read <= 15) await held.opened;
      await submit(records, signal);
    };
  const consumer = await environment.consume({ wrap, env });
  await untilBegun(environment);
  await environment.publishEverySlot(5);
  await until('15 records', () => read === 15);
  return { consumer, held };
}

export const errorsOf = ({ logged }: Consumer) => logged.filter(({ level }) => level >= 50);
