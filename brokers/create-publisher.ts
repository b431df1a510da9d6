import type { Config } from '../common/config/config.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Publisher } from './publisher.ts';

/** Makes the publisher that `BROKER` names. The client of a broker that is not used is never loaded: they are large. */
export async function createPublisher(config: Config, pool: Pool, logger: Logger): Promise<Publisher> {
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
