import {
  MergeShardsCommand,
  PutRecordsCommand,
  type Shard,
  SplitShardCommand,
  UpdateShardCountCommand,
} from '@aws-sdk/client-kinesis';
import { describe, expect } from 'vitest';
import { isOpen, listShards, openKinesis } from '../../brokers/kinesis/client.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { until } from '../support/until.ts';
import { consumeHeld, errorsOf, kinesisTests, unsettledAmong } from './kinesis-consumers.ts';
import {
  countSettled,
  expectAllCharged,
  expectTrueBooks,
  gate,
  type Submit,
  untilSettled,
} from './test-environment.ts';

const on = kinesisTests();

const shardOf = (position: string) => /\/(.*)@/.exec(position)?.[1] ?? '';

async function countEnds(pool: Pool): Promise<number | null> {
  return (await pool.query(`select from broker_checkpoint where position = 'end'`)).rowCount;
}

describe.concurrent('a consumer of Kinesis', () => {
  on(
    'reads a child shard once its parents are settled, while the stream splits and merges under traffic',
    async (environment) => {
      const { broker, clicks, database } = environment;
      const { KINESIS_STREAM: StreamName } = broker.config;
      const client = openKinesis(broker.config);
      environment.later(async () => client.destroy());
      const shards = new Map<string, Shard>();
      const look = async () => {
        for (const shard of await listShards(client, broker.config)) shards.set(shard.ShardId ?? '', shard);
        return [...shards.values()].filter(isOpen);
      };
      const [only] = await look();
      const tooEarly: string[] = [];
      const held = gate();
      const parentsOf = (shard: string) => [
        shards.get(shard)?.ParentShardId,
        shards.get(shard)?.AdjacentParentShardId,
      ];
      const watch =
        (submit: Submit): Submit =>
        async (records, signal) => {
          const shard = shardOf(records[0]?.position ?? '');
          if (shard === only?.ShardId) await held.opened;
          const unsettled = await unsettledAmong(database.pool, parentsOf(shard));
          tooEarly.push(...unsettled.map((parent) => `${shard} before ${parent}`));
          await submit(records, signal);
        };
      const consumer = await environment.consume({ wrap: watch });
      const another = await environment.consume({ wrap: watch });
      const publish = () => broker.publisher.publish(clicks(10));
      await publish();
      const NewStartingHashKey = String(2n ** 127n);
      await client.send(
        new SplitShardCommand({ StreamName, ShardToSplit: only?.ShardId, NewStartingHashKey }),
      );
      const open = (count: number) =>
        until('as many open shards as wanted', async () => {
          await publish();
          return (await look()).length === count;
        });
      await open(2);
      const [left, right] = await look();
      const merged = { ShardToMerge: left?.ShardId, AdjacentShardToMerge: right?.ShardId };
      await client.send(new MergeShardsCommand({ StreamName, ...merged }));
      await open(1);
      await publish();
      // Four generations of shards, three of them closed: reconciliation can read them all.
      const reconciliation = await expectTrueBooks(environment);
      expect(reconciliation.inFlight).toBe(environment.spool.accepted);
      held.open();
      await untilSettled(database.pool, environment.spool.accepted, consumer);
      expect(tooEarly).toEqual([]);
      await until('three shards to be over', async () => (await countEnds(database.pool)) === 3);
      await expectAllCharged(environment);
      expect([consumer.failure(), another.failure()]).toEqual([null, null]);

      // A later consumer does not read settled shards again.
      await Promise.all([consumer.stop(), another.stop()]);
      const late = await environment.consume();
      await publish();
      await untilSettled(database.pool, environment.spool.accepted, late);
      expect(await late.duplicates()).toBe(0);
    },
    { KINESIS_SHARDS: '1' },
  );

  on('continues when the number of shards changes', async (environment) => {
    const { broker, clicks, database } = environment;
    const { KINESIS_STREAM: StreamName } = broker.config;
    const client = openKinesis(broker.config);
    environment.later(async () => client.destroy());
    const consumer = await environment.consume();
    await environment.publishEverySlot(10);
    await client.send(
      new UpdateShardCountCommand({ StreamName, TargetShardCount: 4, ScalingType: 'UNIFORM_SCALING' }),
    );
    await until('four open shards', async () => {
      await broker.publisher.publish(clicks(10));
      return (await listShards(client, broker.config)).filter(isOpen).length === 4;
    });
    await broker.publisher.publish(clicks(50));
    await broker.publisher.publishEverywhere(environment.spool.watermark());
    await untilSettled(database.pool, environment.spool.accepted, consumer);
    await expectAllCharged(environment);
  });

  on('leaves what it has not settled of a shard to the next reader', async (environment) => {
    environment.later(async () => expect(errorsOf(consumer)).toEqual([]));
    const { consumer } = await consumeHeld(environment);
    const another = await environment.consume();
    await untilSettled(environment.database.pool, 5, another);
    expect(another.failure()).toBe(null);
  });

  on('logs an error when a shard was not read for longer than its retention', async (environment) => {
    const { broker, clicks, database } = environment;
    await broker.publishTo(0, clicks(5));
    const before = await environment.consume();
    await untilSettled(database.pool, 5, before);
    await before.stop();
    const { rowCount } = await database.pool.query(
      `update broker_checkpoint set position = regexp_replace(position, ' [^ ]*$', ' 2020-01-01T00:00:00.000Z')
       where position like 'after %'`,
    );
    expect(rowCount).toBe(1);
    await broker.publishTo(0, clicks(5));
    const after = await environment.consume();
    await untilSettled(database.pool, 10, after);
    expect((await after.metrics.brokerLost.get()).values[0]?.value).toBe(1);
    const said = after.logged.filter(({ level }) => level >= 50).map(({ msg }) => msg);
    expect(said).toEqual([expect.stringContaining('not read for longer than the retention of the stream')]);
    await expectAllCharged(environment);
  });

  on('stores records with a foreign partition key and empty records as dead letters', async (environment) => {
    const { broker, clicks, database } = environment;
    const client = openKinesis(broker.config);
    environment.later(async () => client.destroy());
    await client.send(
      new PutRecordsCommand({
        StreamName: broker.config.KINESIS_STREAM,
        Records: [
          { PartitionKey: 'a key', Data: Buffer.from('foreign') },
          { PartitionKey: 'ünïcode', Data: Buffer.alloc(0) },
        ],
      }),
    );
    await broker.publishTo(0, clicks(5));
    const consumer = await environment.consume();
    await untilSettled(database.pool, 5, consumer);
    const letters = async () =>
      (await database.pool.query('select record_key, raw from dead_letter order by record_key')).rows;
    await until('two dead letters', async () => (await letters()).length === 2);
    expect(await letters()).toEqual([
      { record_key: 'a key', raw: Buffer.from('foreign') },
      { record_key: 'ünïcode', raw: Buffer.alloc(0) },
    ]);
    await expectAllCharged(environment);
  });

  on('shares shards evenly and leaves none unread', async (environment) => {
    const { database } = environment;
    const shards = [new Set<string>(), new Set<string>()];
    const start = (seen: Set<string> | undefined) =>
      environment.consume({
        wrap: (submit) => async (records, signal) => {
          for (const { position } of records) seen?.add(shardOf(position));
          await submit(records, signal);
        },
      });
    const one = await start(shards[0]);
    await untilSettled(database.pool, await environment.publishEverySlot(2), one);
    expect(shards[0]?.size).toBe(3);
    const two = await start(shards[1]);
    await until('both to have their share', async () => {
      for (const seen of shards) seen.clear();
      await environment.publishEverySlot(2);
      await untilSettled(database.pool, environment.spool.accepted);
      return shards.every(({ size }) => size > 0) && shards.reduce((sum, { size }) => sum + size, 0) === 3;
    });
    expect(await countSettled(database.pool)).toBe(environment.spool.accepted);
    expect([one.failure(), two.failure()]).toEqual([null, null]);
  });
});
