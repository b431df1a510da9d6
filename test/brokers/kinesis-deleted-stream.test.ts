import { DeleteStreamCommand } from '@aws-sdk/client-kinesis';
import { describe, expect } from 'vitest';
import { createStream, openKinesis, readStream } from '../../brokers/kinesis/client.ts';
import { sleep } from '../../common/process.ts';
import { until } from '../support/until.ts';
import { consumeHeld, errorsOf, kinesisTests, untilBegun } from './kinesis-consumers.ts';
import { type Consumer, countSettled, type TestEnvironment, untilSettled } from './test-environment.ts';

const on = kinesisTests();

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

/** Call after the consumer was stopped. */
function expectLossLogged(consumer: Consumer): void {
  const log = consumer.logged.map(({ level, msg }) => `${level} ${msg}`).join('\n');
  expect(errorsOf(consumer), log).toHaveLength(3);
  const msg = expect.stringContaining('a shard that the stream no longer has');
  expect(errorsOf(consumer)).toContainEqual(expect.objectContaining({ atMost: 5, msg }));
}

describe.concurrent('a consumer of Kinesis', () => {
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
});
