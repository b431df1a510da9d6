import { partitionsProblem, readPartitions, withAdmin } from '../../brokers/kafka/client.ts';
import { openKinesis, readStream } from '../../brokers/kinesis/client.ts';
import type { Config } from '../../common/config/config.ts';
import type { Logger } from '../../common/telemetry/logger.ts';

/**
 * Makes sure that the broker is there and has the topic or the stream, so that who starts a stack hears at once of a setting
 * that is wrong. Throws an error that names it.
 */
export async function assertBroker(config: Config, logger: Logger): Promise<void> {
  if (config.BROKER === 'kafka') {
    const partitions = await withAdmin(config, logger, (admin) => readPartitions(admin, config));
    const few = partitionsProblem(partitions.length, config);
    if (few !== null) logger.warn(few);
  }
  if (config.BROKER === 'kinesis') {
    const client = openKinesis(config);
    try {
      await readStream(client, config);
    } finally {
      client.destroy();
    }
  }
}
