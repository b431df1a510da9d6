import type { Config } from '../common/config/config.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { BrokerBacklog } from './backlog.ts';
import type { BatchSink, EventSource } from './event-source.ts';
import { postgresBacklog } from './postgres/backlog.ts';
import { createPostgresSource } from './postgres/source.ts';

/** How often the Postgres broker is looked at where it is not the broker, in ms. */
const LEFTOVER_MS = 2_000;

/**
 * Makes what reads the broker that `BROKER` names, by its name. The Postgres broker is always among them: what was published
 * to it before somebody switched is charged too. The client of a broker that is not used is never loaded.
 */
export async function createSources(
  config: Config & { readonly DATABASE_URL: string },
  pool: Pool,
  sink: BatchSink,
  deps: { metrics: Metrics; logger: Logger },
): Promise<Map<string, EventSource>> {
  const { BROKER: broker, BATCH_SIZE: batchSize } = config;
  const windowMs = broker !== 'postgres' ? LEFTOVER_MS : config.BATCH_WINDOW_MS;
  const sources = new Map<string, EventSource>();
  if (broker === 'kafka') {
    const { createKafkaSource } = await import('./kafka/source.ts');
    sources.set(broker, createKafkaSource(pool, sink, config, deps));
  }
  if (broker === 'kinesis') {
    const { createKinesisSource } = await import('./kinesis/source.ts');
    sources.set(broker, createKinesisSource(pool, config.DATABASE_URL, sink, config, deps));
  }
  return sources.set('postgres', createPostgresSource(pool, sink, { windowMs, batchSize }, deps));
}

/** The backlogs of all brokers that may have clicks: also the table of the Postgres broker, which may have been in use before. */
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
