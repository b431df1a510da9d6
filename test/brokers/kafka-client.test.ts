import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { openKafka } from '../../brokers/kafka/client.ts';
import { parseConfig } from '../../common/config/config.ts';
import { kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { silent } from '../support/loggers.ts';
import { isSkipped } from '../support/skipped.ts';

const skipped = isSkipped(await kafkaIsMissing());
/** Turns of the event loop in a second without work. A timer of a millisecond makes at least 500. */
const IDLE_TURNS_MAX = 200;

it.skipIf(skipped)(
  'a connection of kafkajs without requests does not wake up its process',
  async () => {
    const server = await startKafka();
    onTestFinished(() => server.stop());
    const config = parseConfig({ BROKER: 'kafka', KAFKA_BROKERS: server.brokers });
    const admin = openKafka(config, 'test', silent).admin();
    await admin.connect();
    onTestFinished(() => admin.disconnect());
    await admin.listTopics();
    const iterations = () => performance.nodeTiming.uvMetricsInfo.loopCount;
    const before = iterations();
    await sleep(1_000);
    expect(iterations() - before).toBeLessThan(IDLE_TURNS_MAX);
  },
  120_000,
);
