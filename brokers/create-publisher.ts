import type { Config } from '../common/config/config.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Publisher } from './publisher.ts';
import { tracePublisher } from './traced-publisher.ts';

/** Creates the publisher of `BROKER`, with spans for sampled clicks. */
export async function createPublisher(config: Config, pool: Pool, logger: Logger): Promise<Publisher> {
  return tracePublisher(await publisherOf(config, pool, logger), config.BROKER);
}

/** Loads no client of an unused broker, because they are large. */
async function publisherOf(config: Config, pool: Pool, logger: Logger): Promise<Publisher> {
  switch (config.BROKER) {
    case 'kafka': {
      const { createKafkaPublisher } = await import('./kafka/publisher.ts');
      return createKafkaPublisher(config, logger);
    }
    case 'kinesis': {
      const { createKinesisPublisher } = await import('./kinesis/publisher.ts');
      return createKinesisPublisher(config);
    }
    case 'postgres': {
      const { createPostgresPublisher } = await import('./postgres/publisher.ts');
      return createPostgresPublisher(pool);
    }
    default:
      return config.BROKER satisfies never;
  }
}
