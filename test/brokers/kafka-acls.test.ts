import { type Admin, Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createTopic } from '../../brokers/kafka/client.ts';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import { type Config, parseConfig } from '../../common/config/config.ts';
import { errorCode, errorMessage } from '../../common/errors.ts';
import { type KafkaServer, kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { type Acl, aclsOf, kafkaEntry } from '../support/kafka-acl-command.ts';
import { silent } from '../support/loggers.ts';
import { codeBlocksOf, readPage } from '../support/markdown.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';
import type { Server } from './broker.ts';
import { KAFKA_CLIENTS } from './kafka-broker.ts';
import { type Consumer, type TestEnvironment, untilSettled, withEnvironment } from './test-environment.ts';

const PASSWORD = 'secret';
const [commands = ''] = codeBlocksOf(readPage('docs/brokers.md'), 'sh').filter((block) =>
  block.includes('kafka-acls.sh'),
);
const acls = aclsOf(commands);
const users = [...new Set(acls.map(({ principal }) => principal))];
const skipped = isSkipped(await kafkaIsMissing('controllable'));

let server: KafkaServer;
let admin: Admin;

beforeAll(async () => {
  if (skipped) return;
  const sasl = { mechanism: 'plain', username: 'admin', password: PASSWORD } as const;
  server = await startKafka({ properties: guardedProperties(), connection: { sasl } });
  admin = new Kafka({ brokers: [server.brokers], sasl: { ...sasl }, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  for (const acl of acls) await grant(acl);
}, 120_000);
afterAll(async () => {
  await admin?.disconnect();
  await server?.stop();
});

/** https://kafka.apache.org/41/documentation.html#security_authz: without an ACL, nothing is allowed. */
function guardedProperties(): Record<string, string> {
  const accounts = [...users, 'admin'].map((user) => `user_${user}="${PASSWORD}"`).join(' ');
  return {
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    // The broker itself is anonymous, from its own listeners.
    'super.users': 'User:ANONYMOUS;User:admin',
    'listener.security.protocol.map': 'CLIENTS:SASL_PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'listener.name.clients.sasl.enabled.mechanisms': 'PLAIN',
    'listener.name.clients.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${accounts};`,
  };
}

const grant = (acl: Acl) => admin.createAcls({ acl: [kafkaEntry(acl)] });
const revoke = (acl: Acl) => admin.deleteAcls({ filters: [kafkaEntry(acl)] });

/** The settings of a process that logs in as this user. */
const envOf = (user: string): Record<string, string> => ({
  BROKER: 'kafka',
  KAFKA_BROKERS: server.brokers,
  KAFKA_SASL: 'plain',
  KAFKA_USERNAME: user,
  KAFKA_PASSWORD: PASSWORD,
  KAFKA_PARTITIONS: '3',
});
const configOf = (user: string): Config => parseConfig(envOf(user));

/** The code of an error. */
const codeOf = (error: unknown): string => errorCode(error) ?? String(error);

/** Expects that `work` succeeds with the rights of the page, and fails without any one of these. */
async function expectNeeded(needed: readonly Acl[], work: () => Promise<unknown>): Promise<void> {
  expect(needed).not.toEqual([]);
  await untilEndsWith(null, 'with all rights', work);
  for (const acl of needed) {
    const right = `${acl.operation} on ${acl.type} ${acl.name}`;
    await revoke(acl);
    await untilEndsWith('kafka_rights', `without ${right}`, work);
    await grant(acl);
    await untilEndsWith(null, `with ${right} again`, work);
  }
}

/** Longest time until the broker applies a granted or revoked right, in ms: Kafka, its clients and other tests share the machine. */
const RIGHTS_MS_MAX = 20_000;

/** The broker applies a granted or revoked right a moment later. */
async function untilEndsWith(code: string | null, when: string, work: () => Promise<unknown>): Promise<void> {
  const seen = new Set<string>();
  const ends = async () => {
    const found = await work().then(
      () => null,
      (error: unknown) => {
        seen.add(`${codeOf(error)} (${errorMessage(error)})`);
        return codeOf(error);
      },
    );
    return found === code;
  };
  await until(`the code ${code} ${when}`, ends, RIGHTS_MS_MAX).catch((cause: unknown) => {
    throw new Error(`Expected the code ${code} ${when}, got ${[...seen].join(', ')}`, { cause });
  });
}

const of = (user: string, operation?: string) =>
  acls.filter((acl) => acl.principal === user && (operation === undefined || acl.operation === operation));

/** The topic of the page as a broker; clicks are published with the rights of an ad server, all else is the processor's. */
function pageBroker(publisher: Publisher): Server {
  return {
    open: async (database, more = {}) => {
      const env = { ...envOf('tollway_processor'), DATABASE_URL: database.url, ...more };
      const config = parseConfig(env);
      return {
        env,
        config,
        publisher,
        backlogs: await createBacklogs(config, silent),
        publishTo: async (_, records) => void (await publisher.publish(records)),
        deletePositions: {},
        place: () => /./,
        close: async () => undefined,
      };
    },
    outage: null,
    freeze: null,
    stop: async () => undefined,
  };
}

describe.skipIf(skipped)('with the rights of docs/brokers.md alone', () => {
  let publisher: Publisher;
  beforeAll(async () => {
    // The topic exists first, so that a refusal can only be about a right.
    await createTopic(configOf('admin'), silent);
    publisher = await createKafkaPublisher(configOf('tollway_ad_server'), silent);
  });
  afterAll(() => publisher?.close());

  it.each(KAFKA_CLIENTS)(
    'an ad server publishes clicks and watermarks with %s',
    { timeout: 60_000 },
    async (client) => {
      const config = parseConfig({ ...envOf('tollway_ad_server'), KAFKA_CLIENT: client });
      const tested = await createKafkaPublisher(config, silent);
      await withEnvironment(pageBroker(tested), async ({ clicks, spool }) => {
        await expectNeeded(of('tollway_ad_server'), () => tested.publish(clicks(1)));
        await expectNeeded(of('tollway_ad_server'), () => tested.publishEverywhere(spool.watermark()));
      }).finally(tested.close);
    },
  );

  it.each(KAFKA_CLIENTS)(
    'a processor reads, charges and knows its lag with %s',
    { timeout: 60_000 },
    async (client) => {
      const check = async (environment: TestEnvironment) => {
        const { database, clicks, spool } = environment;
        const settledBy = (consumer: Consumer) =>
          untilSettled(database.pool, spool.accepted, consumer).catch((error: unknown) =>
            Promise.reject(consumer.failure() ?? error),
          );
        const charge = async () => {
          await publisher.publish(clicks(3));
          const consumer = await environment.consume();
          await settledBy(consumer)
            .then(() => consumer.source.lag())
            .finally(consumer.stop);
        };
        const [topic, group] = of('tollway_processor');
        if (topic?.type !== 'topic' || group?.type !== 'group')
          throw new Error('Expected a right to the topic and one to the group');
        await expectNeeded([topic], charge);
        // kafkajs does not tell a group that is forbidden from one that no broker coordinates yet: the processor waits.
        await revoke(group);
        await publisher.publish(clicks(3));
        const waiting = await environment.consume();
        const reasons = () => waiting.source.problems().map(({ reason }) => reason);
        await until('the reason why it waits', () =>
          reasons().join().includes('KAFKA_GROUP: no broker coordinates'),
        );
        await grant(group);
        await settledBy(waiting);
      };
      await withEnvironment(pageBroker(publisher), check, { KAFKA_CLIENT: client });
    },
  );

  it('reconcile and rewind read beside it', { timeout: 60_000 }, async () => {
    await withEnvironment(pageBroker(publisher), async ({ database, clicks }: TestEnvironment) => {
      await publisher.publish(clicks(3));
      const [backlog] = await createBacklogs(configOf('tollway_console'), silent).then((all) =>
        all.slice(-1),
      );
      if (!backlog) throw new Error('Expected the backlog of Kafka');
      const read = of('tollway_console', 'Read');
      await expectNeeded(read, () => reconcile(database.pool, { deep: false, brokers: [backlog] }));
      await expectNeeded(
        read.filter(({ type }) => type === 'topic'),
        () => backlog.rewind(database.pool, new Date(0)),
      );
      // Without the right to delete groups, it leaves a group without members.
      const groups = async () =>
        (await admin.listGroups()).groups.filter(({ groupId }) => groupId.includes('-books-'));
      await until('no group that is left', async () => (await groups()).length === 0);
      const [deletion] = of('tollway_console', 'Delete');
      if (!deletion) throw new Error('Expected the right to delete groups');
      await revoke(deletion);
      const leaves = async () => {
        await reconcile(database.pool, { deep: false, brokers: [backlog] });
        return (await groups()).length > 0;
      };
      await until('a group that is left', leaves);
    });
  });

  it('topics create makes a topic and adds partitions', { timeout: 60_000 }, async () => {
    const { KAFKA_TOPIC: topic } = configOf('admin');
    const remove = async () => {
      if (!(await admin.listTopics()).includes(topic)) return;
      await admin.deleteTopics({ topics: [topic] });
      await until('the topic to be gone', async () => !(await admin.listTopics()).includes(topic));
    };
    const owner = configOf('tollway_owner');
    await expectNeeded(of('tollway_owner', 'Create'), async () => {
      await remove();
      await createTopic(owner, silent);
    });
    let partitions = owner.KAFKA_PARTITIONS;
    const add = () => {
      partitions += 1;
      return createTopic({ ...owner, KAFKA_PARTITIONS: partitions }, silent);
    };
    await expectNeeded(of('tollway_owner', 'Alter'), add);
  });
});
