import { afterEach, expect, it, vi } from 'vitest';
import { AssignedPartition } from '../../brokers/kafka/assigned-partition.ts';
import { explainSource } from '../../brokers/kafka/explain.ts';
import { Fetcher } from '../../brokers/kafka/fetcher.ts';
import { TopicLeaders } from '../../brokers/kafka/topic-leaders.ts';
import { SourceHealth } from '../../brokers/source-health.ts';
import { parseConfig } from '../../common/config/config.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { silent } from '../support/loggers.ts';
import { until } from '../support/until.ts';

afterEach(() => vi.restoreAllMocks());

it('a broker that failed is no problem any more once the processor has no partition to read', async () => {
  const [port = 0] = await freePorts(1);
  const leaderOf = new Map([[0, { host: '127.0.0.1', port }]]);
  vi.spyOn(TopicLeaders.prototype, 'get').mockResolvedValue({ partitions: [0], withLeader: [0], leaderOf });
  const config = parseConfig({ BROKER: 'kafka', KAFKA_BROKERS: `127.0.0.1:${port}`, KAFKA_TOPIC: 'clicks' });
  const stopping = new AbortController();
  const explain = (error: unknown) => explainSource(error, config);
  const health = new SourceHealth(explain, { logger: silent, stopping: stopping.signal, graceMs: 0 });
  let partitions = [new AssignedPartition(0)];
  const failures: unknown[] = [];
  const fetcher = await Fetcher.open(config, {
    health,
    partitions: () => partitions,
    waitForCapacity: async () => {},
    submit: () => {},
    onOutOfRange: async () => {},
    fail: (error) => failures.push(error),
  });
  const running = fetcher.run(stopping.signal);
  try {
    await until('the broker to fail', () => health.problems.some(({ what }) => what === `127.0.0.1:${port}`));
    // A rebalance gives its partition to another processor.
    partitions = [];
    await until('no problem', () => health.problems.length === 0);
    expect([health.isFailing, failures]).toEqual([false, []]);
  } finally {
    stopping.abort();
    await running;
  }
});
