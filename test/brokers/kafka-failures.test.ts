import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTopic, withAdmin } from '../../brokers/kafka/client.ts';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import {
  type SecureKafkaServer,
  secureKafkaIsMissing,
  startSecureKafka,
} from '../../emulators/kafka/secure.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord, TestSpool } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { KAFKA_CLIENTS } from './kafka-broker.ts';

const skipped = isSkipped(await secureKafkaIsMissing());
let secure: SecureKafkaServer;
beforeAll(async () => {
  if (skipped) return;
  secure = await startSecureKafka();
  const config = parseConfig(login());
  await createTopic(config, silent);
  const configEntries = [{ name: 'max.message.bytes', value: '2000' }];
  await withAdmin(config, silent, (admin) =>
    admin.createTopics({ topics: [{ topic: 'small', numPartitions: 1, configEntries }] }),
  );
}, 120_000);
afterAll(() => secure?.stop());

const login = (mechanism = 'plain') => ({
  KAFKA_BROKERS: secure.brokers,
  KAFKA_TOPIC: 'clicks',
  KAFKA_TLS: 'on',
  KAFKA_TLS_CA: secure.caPath,
  KAFKA_SASL: mechanism,
  KAFKA_USERNAME: secure.username,
  KAFKA_PASSWORD: secure.password,
});

/** Runs `work` with a publisher of the settings, and closes it. */
async function withPublisher<T>(
  settings: Record<string, string>,
  work: (publisher: Publisher) => Promise<T>,
): Promise<T> {
  const publisher = await createKafkaPublisher(parseConfig(settings), silent);
  try {
    return await work(publisher);
  } finally {
    await publisher.close();
  }
}

const clicks = (count: number) => {
  const spool = new TestSpool();
  return Array.from({ length: count }, () => spool.click());
};

describe.skipIf(skipped).each(KAFKA_CLIENTS)('a publisher with %s', (client) => {
  it.each(['plain', 'scram-sha-256', 'scram-sha-512'])('logs in with %s', { timeout: 60_000 }, (mechanism) =>
    withPublisher({ ...login(mechanism), KAFKA_CLIENT: client }, async (publisher) => {
      expect(await publisher.publish(clicks(1_000))).toEqual([]);
      await publisher.publishEverywhere(new TestSpool().watermark());
    }),
  );

  it('shows a client certificate', { timeout: 60_000 }, () => {
    const certificate = { KAFKA_TLS_CERT: secure.clientCertPath, KAFKA_TLS_KEY: secure.clientKeyPath };
    return withPublisher({ ...login(), ...certificate, KAFKA_CLIENT: client }, async (publisher) => {
      expect(await publisher.publish(clicks(1))).toEqual([]);
    });
  });

  it.each([
    ['a wrong password', () => ({ KAFKA_PASSWORD: 'wrong' }), 'kafka_login', false, /refuses them/],
    [
      'a wrong password, by SCRAM',
      () => ({ KAFKA_SASL: 'scram-sha-512', KAFKA_PASSWORD: 'wrong' }),
      'kafka_login',
      false,
      /refuses them/,
    ],
    ['an unknown authority', () => ({ KAFKA_TLS_CA: '' }), 'kafka_tls', true, /no encrypted connection/],
    [
      'a missing topic',
      () => ({ KAFKA_TOPIC: 'none' }),
      'kafka_topic',
      true,
      /there is no topic "none" at .* npx tollway topics create/,
    ],
    ['records that are too large', () => ({ KAFKA_TOPIC: 'small' }), 'kafka', true, /larger than/],
  ])('names what is wrong: %s', { timeout: 60_000 }, async (_, env, code, retryable, message) => {
    const settings = Object.entries({ ...login(), ...env(), KAFKA_CLIENT: client });
    await withPublisher(
      Object.fromEntries(settings.filter(([, value]) => value !== '')),
      async (publisher) => {
        // Twice: the relay tries again without limit, and the second failure must not end the process.
        for (const attempt of [1, 2])
          await expect(publisher.publish(clicks(100)), `attempt ${attempt}`).rejects.toMatchObject({
            code,
            retryable,
            message: expect.stringMatching(message),
          });
      },
    );
  });

  it('names the brokers if none answers', { timeout: 60_000 }, async () => {
    const [port] = await freePorts(1);
    await withPublisher({ KAFKA_BROKERS: `127.0.0.1:${port}`, KAFKA_CLIENT: client }, async (publisher) => {
      await expect(publisher.publish([clickRecord()])).rejects.toMatchObject({
        code: 'kafka_away',
        retryable: true,
        message: expect.stringMatching(/^KAFKA_BROKERS: 127\.0\.0\.1:\d+ does not answer: .+/),
      });
    });
  });

  it('closes although a broker does not answer', { timeout: 60_000 }, async () => {
    const proxy = await startTcpProxy(`http://${secure.brokers}`);
    proxy.freeze();
    const settings = { ...login(), KAFKA_BROKERS: new URL(proxy.url).host, KAFKA_CLIENT: client };
    const publisher = await createKafkaPublisher(parseConfig(settings), silent);
    const published = publisher.publish([clickRecord()]).then(
      () => 'published',
      (error: { code: string }) => error.code,
    );
    await expect.poll(proxy.connections).toBeGreaterThan(0);
    const closedAt = performance.now();
    await publisher.close();
    expect(performance.now() - closedAt).toBeLessThan(8_000);
    await proxy.close();
    expect(await published).toMatch(/^kafka/);
  });
});
