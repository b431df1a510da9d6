import type { Config } from '../../common/config/config.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Publisher } from '../publisher.ts';

/**
 * Creates a publisher to Kafka with the client of `KAFKA_CLIENT`. The records on the topic are the same. Throws `bad_settings`.
 */
export async function createKafkaPublisher(config: Config, logger: Logger): Promise<Publisher> {
  switch (config.KAFKA_CLIENT) {
    case 'kafkajs': {
      const { createKafkajsPublisher } = await import('./kafkajs-publisher.ts');
      return createKafkajsPublisher(config, logger);
    }
    case 'platformatic': {
      const { createPlatformaticPublisher } = await import('./platformatic-publisher.ts');
      return createPlatformaticPublisher(config);
    }
    default:
      return config.KAFKA_CLIENT satisfies never;
  }
}
