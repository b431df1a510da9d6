import type { Config } from '../common/config/config.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { BrokerBacklog } from './backlog.ts';
import type { BatchSink, EventSource } from './event-source.ts';
import { postgresBacklog } from './postgres/backlog.ts';
import { createPostgresSource } from './postgres/source.ts';

/** Time between two polls of the Postgres broker, in ms, when `BROKER` is another one. */
const LEFTOVER_MS = 2_000;

/**
 * Creates the event sources by broker: that of `BROKER`, and always that of the Postgres broker, so that clicks that were published to it
 * before `BROKER` was changed are charged too. Loads no client of an unused broker.
 */
export async function createSources(
  config: Config & { readonly DATABASE_URL: string },
  pool: Pool,
  sink: BatchSink,
  deps: { metrics: Metrics; logger: Logger },
): Promise<Map<string, EventSource>> {
  const { BROKER: broker, BATCH_SIZE: batchSize } = config;
  const postgresSource = (windowMs: number) =>
    createPostgresSource(pool, sink, { windowMs, batchSize }, deps);
  switch (broker) {
    case 'kafka': {
      const { createKafkaSource } = await import('./kafka/source.ts');
      const source = createKafkaSource(pool, sink, config, deps);
      return new Map<string, EventSource>([[broker, source]]).set('postgres', postgresSource(LEFTOVER_MS));
    }
    case 'kinesis': {
      const { createKinesisSource } = await import('./kinesis/source.ts');
      const source = createKinesisSource(pool, config.DATABASE_URL, sink, config, deps);
      return new Map<string, EventSource>([[broker, source]]).set('postgres', postgresSource(LEFTOVER_MS));
    }
    case 'postgres':
      return new Map([[broker, postgresSource(config.BATCH_WINDOW_MS)]]);
    default:
      return broker satisfies never;
  }
}

/** The backlogs of every broker that can hold clicks: that of the Postgres broker, which can have been in use before, and last that of `BROKER`. */
export async function createBacklogs(config: Config, logger: Logger): Promise<BrokerBacklog[]> {
  switch (config.BROKER) {
    case 'kafka': {
      const { createKafkaBacklog } = await import('./kafka/backlog.ts');
      return [postgresBacklog, createKafkaBacklog(config, logger)];
    }
    case 'kinesis': {
      const { createKinesisBacklog } = await import('./kinesis/backlog.ts');
      return [postgresBacklog, createKinesisBacklog(config)];
    }
    case 'postgres':
      return [postgresBacklog];
    default:
      return config.BROKER satisfies never;
  }
}
