import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Shard } from '@aws-sdk/client-kinesis';
import { describe, expect } from 'vitest';
import { sleep } from '../../common/process.ts';
import { until } from '../support/until.ts';
import { consumeHeld, errorsOf, kinesisTests, unsettledAmong } from './kinesis-consumers.ts';
import { type Consumer, type TestEnvironment, untilSettled } from './test-environment.ts';

const on = kinesisTests();

/** A proxy to Kinesis that leaves the shards of `hidden` out of every list, and knows none of `expired`. */
async function startShardFilter(
  endpoint: string,
  hidden: ReadonlySet<string>,
  expired: ReadonlySet<string> = new Set(),
) {
  const server = createServer(async (request, response) => {
    const names = ['authorization', 'content-type', 'x-amz-date', 'x-amz-target'];
    const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name])]));
    const sent = await text(request);
    const { ShardId: of } = JSON.parse(sent) as { ShardId?: string };
    if (of !== undefined && expired.has(of)) {
      response
        .writeHead(400, { 'content-type': 'application/x-amz-json-1.1' })
        .end(JSON.stringify({ __type: 'ResourceNotFoundException', message: `Shard ${of} does not exist` }));
      return;
    }
    const answer = await fetch(endpoint, { method: 'POST', headers, body: sent });
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

  describe('of a shard that has expired before it was read to its end', () => {
    /** Reads a shard in part, and starts the next consumer when the stream has the shard no longer. `until`: the time of its checkpoint. */
    async function consumeExpired(environment: TestEnvironment, readUntil: Date, isKnown = false) {
      const { broker, clicks, database } = environment;
      await broker.publishTo(0, clicks(5));
      const before = await environment.consume();
      await untilSettled(database.pool, 5, before);
      await before.stop();
      const { rows } = await database.pool.query<{ partition: string }>(
        `update broker_checkpoint set position = regexp_replace(position, ' [^ ]*$', $1) where position like 'after %' returning partition`,
        [` ${readUntil.toISOString()}`],
      );
      const shards = new Set(rows.map(({ partition }) => partition));
      expect(shards.size).toBe(1);
      const proxy = await startShardFilter(
        broker.config.KINESIS_ENDPOINT ?? '',
        shards,
        isKnown ? undefined : shards,
      );
      environment.later(proxy.close);
      const env = { KINESIS_ENDPOINT: proxy.url };
      const consumers = [await environment.consume({ env }), await environment.consume({ env })];
      await broker.publishTo(1, clicks(5));
      await untilSettled(database.pool, 10);
      return { consumers, shard: [...shards][0] };
    }

    const lostOf = async (consumers: readonly Consumer[]) => {
      const counts = await Promise.all(consumers.map(({ metrics }) => metrics.brokerLost.get()));
      return counts.reduce((sum, { values }) => sum + (values[0]?.value ?? 0), 0);
    };

    on('one of the processors logs an error, once', async (environment) => {
      const { pool } = environment.database;
      const { consumers, shard } = await consumeExpired(environment, new Date('2020-01-01'));
      await until('the end of the shard', async () => !(await unsettledAmong(pool, [shard])).length);
      await sleep(2_500);
      expect(await lostOf(consumers)).toBe(1);
      expect(consumers.flatMap(errorsOf)).toMatchObject([
        { shard, msg: expect.stringContaining('expired before it was read to its end') },
      ]);
    });

    on('nothing is logged if it was read for as long as it had records', async (environment) => {
      const { pool } = environment.database;
      const { consumers, shard } = await consumeExpired(environment, new Date());
      await until('the end of the shard', async () => !(await unsettledAmong(pool, [shard])).length);
      expect([await lostOf(consumers), consumers.flatMap(errorsOf)]).toEqual([0, []]);
    });

    on('nothing is lost if only the list lacks it', async (environment) => {
      const { pool } = environment.database;
      const { consumers, shard } = await consumeExpired(environment, new Date('2020-01-01'), true);
      await sleep(2_500);
      expect(await unsettledAmong(pool, [shard])).toEqual([shard]);
      expect([await lostOf(consumers), consumers.flatMap(errorsOf)]).toEqual([0, []]);
    });
  });
});
