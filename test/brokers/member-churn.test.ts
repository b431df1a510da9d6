import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '../../common/process.ts';
import { kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';
import { SLOTS } from './broker.ts';
import { KAFKA_CLIENTS, type KafkaForTests, kafkaForTests } from './kafka-broker.ts';
import {
  type Consumer,
  expectAllCharged,
  type Running,
  untilSettled,
  withEnvironment,
} from './test-environment.ts';

const skipped = isSkipped(await kafkaIsMissing());
/** How long members join and die, in seconds. */
const CHURN_SECONDS = Number(process.env.CHURN_SECONDS ?? 20);
/** Restarts of the broker in that time. */
const RESTARTS = 2;
const JOIN_MS = 1_000;
const CLICKS_A_JOIN = 100;
const MEMBERS_MAX = 4;

describe.skipIf(skipped).each(KAFKA_CLIENTS)('a group of processors that fetch with %s', (client) => {
  let server: KafkaForTests;
  beforeAll(async () => {
    if (!skipped) server = kafkaForTests(await startKafka(), client);
  }, 120_000);
  afterAll(() => server?.stop());

  it(
    'charges every click once while members join, leave and are killed each second, and the broker restarts',
    { timeout: 240_000 + CHURN_SECONDS * 3_000 },
    () =>
      withEnvironment(server, async (environment) => {
        const { broker, clicks, database } = environment;
        const members: (Consumer | Running)[] = [];
        const failures: unknown[] = [];
        const remove = async (member: Consumer | Running | undefined) => {
          if (member === undefined) return;
          if ('kill' in member) await member.kill('SIGKILL');
          else {
            failures.push(...[member.failure()].filter((failure) => failure !== null));
            await member.stop();
          }
        };
        const publish = async (slot: number) => {
          const batch = clicks(CLICKS_A_JOIN);
          // As the relay does: what the broker refuses is published again, with the same keys.
          for (let published = false; !published; )
            published = await broker.publishTo(slot, batch).then(
              () => true,
              () => sleep(200).then(() => false),
            );
        };
        const endsAt = performance.now() + CHURN_SECONDS * 1_000;
        const restartEvery = Math.floor(CHURN_SECONDS / (RESTARTS + 1));
        for (let turn = 0; performance.now() < endsAt; turn += 1) {
          members.push(turn % 3 === 0 ? await environment.run() : await environment.consume());
          await publish(turn % SLOTS);
          if (members.length > MEMBERS_MAX) await remove(members.shift());
          if (turn % restartEvery === restartEvery - 1) await server.outage?.(database, () => sleep(JOIN_MS));
          await sleep(JOIN_MS);
        }
        const last = await environment.consume();
        await untilSettled(database.pool, environment.spool.accepted, last, 90_000).catch(
          (error: unknown) => {
            const ended = members.flatMap((member) => ('failure' in member ? [member.failure()] : []));
            throw new AggregateError([error, ...ended, ...failures], 'Clicks are not charged');
          },
        );
        await Promise.all(members.map(remove));
        await broker.publisher.publishEverywhere(environment.spool.watermark());
        await expectAllCharged(environment);
        expect(failures).toEqual([]);
      }),
  );

  it('has no members left when all have stopped, also while they joined', { timeout: 120_000 }, () =>
    withEnvironment(server, async (environment) => {
      for (const joiningMs of [0, 50, 100, 200, 400]) {
        const consumer = await environment.consume();
        await sleep(joiningMs);
        await consumer.stop();
      }
      const admin = await server.admin();
      const members = async () => {
        const { groups } = await admin.describeGroups([environment.broker.config.KAFKA_GROUP]);
        return groups.flatMap((group) => group.members).length;
      };
      await until('a group without members', async () => (await members()) === 0);
    }),
  );
});
