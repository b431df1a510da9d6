import type { Config } from '../common/config.ts';
import type { Logger } from '../common/logger.ts';
import type { Metrics } from '../common/metrics.ts';
import type { Pool } from '../common/postgres.ts';
import type { BrokerBooks } from './broker-books.ts';
import type { EventSource, Intake } from './event-source.ts';
import { createKafkaSource } from './sources/kafka.ts';
import { createKafkaBooks } from './sources/kafka-books.ts';
import { createKinesisSource } from './sources/kinesis.ts';
import { createKinesisBooks } from './sources/kinesis-books.ts';
import { createPostgresSource, postgresBooks } from './sources/postgres.ts';

/** How often the Postgres broker is looked at where it is not the broker, in ms. */
const LEFTOVER_MS = 2_000;

/**
 * Makes what reads the broker that `BROKER` names, by its name. The Postgres broker is always among them: what was published
 * to it before somebody switched is charged too.
 */
export function createSources(
  config: Config & { readonly DATABASE_URL: string },
  pool: Pool,
  intake: Intake,
  around: { metrics: Metrics; logger: Logger },
): Map<string, EventSource> {
  const { BROKER: broker, BATCH_SIZE: batchSize } = config;
  const isLeftover = broker !== 'postgres';
  const windowMs = isLeftover ? LEFTOVER_MS : config.BATCH_WINDOW_MS;
  const sources = new Map<string, EventSource>();
  if (broker === 'kafka') sources.set(broker, createKafkaSource(pool, intake, config, around));
  if (broker === 'kinesis')
    sources.set(broker, createKinesisSource(pool, config.DATABASE_URL, intake, config, around));
  return sources.set(
    'postgres',
    createPostgresSource(pool, intake, { windowMs, batchSize, isLeftover }, around),
  );
}

/** The books of every broker that may hold clicks. */
export function createBooks(config: Config, logger: Logger): BrokerBooks[] {
  const { BROKER: broker } = config;
  if (broker === 'kafka') return [postgresBooks, createKafkaBooks(config, logger)];
  return broker === 'kinesis' ? [postgresBooks, createKinesisBooks(config)] : [postgresBooks];
}
