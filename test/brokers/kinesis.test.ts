import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  DeleteStreamCommand,
  MergeShardsCommand,
  PutRecordsCommand,
  type Shard,
  SplitShardCommand,
  UpdateShardCountCommand,
} from '@aws-sdk/client-kinesis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStream, isOpen, listShards, openKinesis, readStream } from '../../brokers/kinesis/client.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { until } from '../support/until.ts';
import { type KinesisForTests, startKinesisForTests } from './kinesis-broker.ts';
import {
  type Consumer,
  countSettled,
  expectAllCharged,
  expectTrueBooks,
  gate,
  type Submit,
  type TestEnvironment,
  untilSettled,
  withEnvironment,
} from './test-environment.ts';

let server: KinesisForTests;
beforeAll(async () => {
  server = await startKinesisForTests();
});
afterAll(() => server?.stop());

const on = (
  title: string,
  work: (environment: TestEnvironment) => Promise<void>,
  env: Record<string, string> = {},
) => it(title, { timeout: 60_000 }, () => withEnvironment(server, work, env));

const shardOf = (position: string) => /\/(.*)@/.exec(position)?.[1] ?? '';

/** The shards among `shards` that have a checkpoint before their end. */
async function unsettledAmong(pool: Pool, shards: readonly (string | undefined)[]): Promise<string[]> {
  const { rows } = await pool.query<{ partition: string }>(
    `select partition from broker_checkpoint where position <> 'end' and partition = any($1)`,
    [shards.filter((shard) => shard !== undefined)],
  );
  return rows.map(({ partition }) => partition);
}

async function countEnds(pool: Pool): Promise<number | null> {
  return (await pool.query(`select from broker_checkpoint where position = 'end'`)).rowCount;
}

async function untilBegun({ broker, database }: TestEnvironment): Promise<void> {
  const client = openKinesis(broker.config);
  const shards = (await listShards(client, broker.config)).length;
  client.destroy();
  await until('a beginning in each shard', async () => {
    const { rowCount } = await database.pool.query('select from broker_checkpoint');
    return rowCount === shards;
  });
}

/** Starts a consumer that has read five clicks of each shard and does not settle them until `held` is opened. Later ones it settles. */
async function consumeHeld(environment: TestEnvironment, env: Record<string, string> = {}) {
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

async function deleteStream({ broker: { config } }: TestEnvironment): Promise<void> {
  const client = openKinesis(config);
  await client.send(new DeleteStreamCommand({ StreamName: config.KINESIS_STREAM }));
  client.destroy();
}

/** Deletes the stream, and creates it again under the same name when the consumer has missed it. */
async function createAgain(
  environment: TestEnvironment,
  { source }: Consumer,
  meanwhile = async () => {},
): Promise<void> {
  const { broker } = environment;
  const client = openKinesis(broker.config);
  const { id } = await readStream(client, broker.config);
  await deleteStream(environment);
  await until('the stream to be missed', () =>
    source.problems().some(({ reason }) => reason.includes('there is no stream')),
  );
  await meanwhile();
  await createStream(broker.config);
  expect((await readStream(client, broker.config)).id).not.toBe(id);
  client.destroy();
}

const untilNoticed = ({ logged }: Consumer) =>
  until('the new stream to be noticed', () =>
    logged.some(({ msg }) => msg.startsWith('The stream was created again')),
  );

const errorsOf = ({ logged }: Consumer) => logged.filter(({ level }) => level >= 50);

/** Call after the consumer was stopped. */
function expectLossLogged(consumer: Consumer): void {
  const log = consumer.logged.map(({ level, msg }) => `${level} ${msg}`).join('\n');
  expect(errorsOf(consumer), log).toHaveLength(3);
  const msg = expect.stringContaining('a shard that the stream no longer has');
  expect(errorsOf(consumer)).toContainEqual(expect.objectContaining({ atMost: 5, msg }));
}

/** A proxy to Kinesis that leaves the shards of `hidden` out of every list. */
async function startShardFilter(endpoint: string, hidden: ReadonlySet<string>) {
  const server = createServer(async (request, response) => {
    const names = ['authorization', 'content-type', 'x-amz-date', 'x-amz-target'];
    const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name])]));
    const answer = await fetch(endpoint, { method: 'POST', headers, body: await text(request) });
    const body = await answer.text();
    const isList = headers['x-amz-target']?.endsWith('ListShards') && answer.ok;
    const { Shards, ...rest } = isList ? (JSON.parse(body) as { Shards: Shard[] }) : { Shards: [] };
    const listed = Shards.filter(({ ShardId = '' }) => !hidden.has(ShardId));
    response
      .writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
      .end(isList ? JSON.stringify({ ...rest, Shards: listed }) : body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
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

  on(
    'reads a stream that was deleted and created again from its first record on',
    async (environment) => {
      const { broker, clicks, database } = environment;
      const consumer = await environment.consume();
      await untilBegun(environment);
      await untilSettled(database.pool, await environment.publishEverySlot(5), consumer);
      await createAgain(environment, consumer);
      await broker.publisher.publish(clicks(30));
      await untilSettled(database.pool, 45, consumer, 20_000);
      await until('no problem', () => consumer.source.problems().length === 0);
      expect(consumer.logged.map(({ msg }) => msg)).toContainEqual(
        expect.stringContaining('The stream was created again'),
      );
      expect(consumer.failure()).toBe(null);
    },
    // A processor that starts with an empty stream would skip the records that were published before.
    { START_POSITION: 'latest' },
  );

  describe.each([
    ['', async () => {}],
    [
      ', although its leases were lost meanwhile',
      async ({ database }: TestEnvironment) => {
        const ended = await database.pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and application_name = 'tollway shard leases'`,
        );
        expect(ended.rowCount).toBe(1);
      },
    ],
  ])('after the stream was deleted and created again%s', (_, meanwhile) => {
    on('settles what it has read of the old one', async (environment) => {
      const { broker, clicks, database } = environment;
      const { consumer, held } = await consumeHeld(environment);
      await createAgain(environment, consumer, () => meanwhile(environment));
      await broker.publisher.publish(clicks(30));
      // The clicks of the new stream do not wait for those of the old one.
      await untilSettled(database.pool, 30, consumer);
      await until('no problem', () => consumer.source.problems().length === 0);
      await until('the old ones alone to wait', async () => (await consumer.source.lag()).records === 15);
      held.open();
      await untilSettled(database.pool, 45, consumer);
      await until('no lag', async () => (await consumer.source.lag()).records === 0);
      await consumer.stop();
      expect(errorsOf(consumer)).toEqual([]);
    });
  });

  on('settles what it has read of a deleted stream before it stops', async (environment) => {
    const { consumer, held } = await consumeHeld(environment);
    await createAgain(environment, consumer);
    await untilNoticed(consumer);
    const stopped = consumer.stop();
    await sleep(500);
    held.open();
    await stopped;
    expect(await countSettled(environment.database.pool)).toBe(15);
  });

  describe('logs an error if it stops before what it has read of a deleted stream is settled', () => {
    on('after it has noticed the new stream', async (environment) => {
      environment.later(async () => expectLossLogged(consumer));
      const { consumer } = await consumeHeld(environment);
      await createAgain(environment, consumer);
      await untilNoticed(consumer);
    });

    on('at once', async (environment) => {
      environment.later(async () => expectLossLogged(consumer));
      const { consumer } = await consumeHeld(environment);
      await deleteStream(environment);
    });

    on('when another stream has taken its place', async (environment) => {
      environment.later(async () => expectLossLogged(consumer));
      const { consumer } = await consumeHeld(environment);
      await deleteStream(environment);
      const create = () => createStream(environment.broker.config);
      await until('another stream', () =>
        create().then(
          () => true,
          () => false,
        ),
      );
    });
  });

  on('settles what it has read of a shard that has expired', async (environment) => {
    const hidden = new Set<string>();
    const proxy = await startShardFilter(environment.broker.config.KINESIS_ENDPOINT ?? '', hidden);
    environment.later(proxy.close);
    const { consumer, held } = await consumeHeld(environment, { KINESIS_ENDPOINT: proxy.url });
    const shards = async () => (await consumer.source.lag()).partitions.map(({ partition }) => partition);
    const [expired = ''] = await shards();
    hidden.add(expired);
    await until('a reader less', async () => !(await shards()).includes(expired));
    held.open();
    await untilSettled(environment.database.pool, 15, consumer);
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
