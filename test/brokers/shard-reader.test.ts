import type { KinesisClient } from '@aws-sdk/client-kinesis';
import { expect, it } from 'vitest';
import { ShardReader } from '../../brokers/kinesis/shard-reader.ts';
import { SourceHealth } from '../../brokers/source-health.ts';
import { parseConfig } from '../../common/config/config.ts';
import { TollwayError } from '../../common/errors.ts';
import { silent } from '../support/loggers.ts';
import { until } from '../support/until.ts';

it.each([true, false])(
  'a read that fails after its reader was abandoned is not reported (retryable: %s)',
  async (retryable) => {
    const stopping = new AbortController();
    const explain = () => new TollwayError('kinesis_away', 'Kinesis does not answer', { retryable });
    const health = new SourceHealth(explain, { logger: silent, stopping: stopping.signal, graceMs: 0 });
    const request = Promise.withResolvers<never>();
    let requests = 0;
    const client = {
      send: () => {
        requests += 1;
        return request.promise;
      },
    } as unknown as KinesisClient;
    const failures: unknown[] = [];
    const reader = new ShardReader('shard 1', 'first record', {
      client,
      sink: {
        waitForCapacity: async () => {},
        submit: async () => {},
        commitProbes: () => [],
        forget: () => {},
        unlockedCount: () => 0,
      },
      config: parseConfig({ BROKER: 'kinesis', KINESIS_STREAM: 'clicks' }),
      health,
      explain,
      fail: (error) => failures.push(error),
      stopping: stopping.signal,
    });
    reader.start();
    await until('a request', () => requests === 1);
    // The source lost its leases: it abandons the reader and clears what it reported.
    reader.abandon();
    health.clear('shard 1');
    request.reject(new Error('The network is away'));
    await reader.drain();
    expect([health.problems, health.isFailing, failures]).toEqual([[], false, []]);
    expect(reader.silentMs).toBe(0);
    expect(requests).toBe(1);
  },
);
