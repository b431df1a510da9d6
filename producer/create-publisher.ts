import type { Config } from '../common/config.ts';
import type { Logger } from '../common/logger.ts';
import type { Pool } from '../common/postgres.ts';
import { createKafkaPublisher } from './kafka-publisher.ts';
import { createKinesisPublisher } from './kinesis-publisher.ts';
import { createPostgresPublisher } from './postgres-publisher.ts';
import type { Publisher } from './publisher.ts';

/** Makes the publisher that `BROKER` names. */
export function createPublisher(config: Config, pool: Pool, logger: Logger): Publisher {
  switch (config.BROKER) {
    case 'kafka':
      return createKafkaPublisher(config, logger);
    case 'kinesis':
      return createKinesisPublisher(config);
    case 'postgres':
      return createPostgresPublisher(pool);
    default:
      return config.BROKER satisfies never;
  }
}
