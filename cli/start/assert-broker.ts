import type { Config } from '../../common/config/config.ts';
import type { Logger } from '../../common/telemetry/logger.ts';

/**
 * Checks that the broker answers and has the topic or the stream, so that a wrong setting is an error at the start. Throws an error that
 * names the setting. Loads no client of an unused broker, because they are large.
 */
export async function assertBroker(config: Config, logger: Logger): Promise<void> {
  switch (config.BROKER) {
    case 'kafka': {
      const { partitionsProblem, readPartitions, withAdmin } = await import('../../brokers/kafka/client.ts');
      const partitions = await withAdmin(config, logger, (admin) => readPartitions(admin, config));
      const few = partitionsProblem(partitions.length, config);
      if (few !== null) logger.warn(few);
      return;
    }
    case 'kinesis': {
      const { openKinesis, readStream } = await import('../../brokers/kinesis/client.ts');
      const client = openKinesis(config);
      try {
        await readStream(client, config);
      } finally {
        client.destroy();
      }
      return;
    }
    case 'postgres':
      return;
    default:
      return config.BROKER satisfies never;
  }
}
