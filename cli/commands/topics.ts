import { parseConfig } from '../../common/config/config.ts';
import { readEnvironment } from '../../common/config/environment.ts';
import { counted } from '../../common/counted.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { command, group, type Output } from '../context.ts';
import { printJson, printLine } from '../print.ts';

const create = command(
  'create',
  'Create the topic or the stream of the settings, or add missing partitions or shards',
  ['topics create'],
).action(async ({ format }: Output) => {
  const config = parseConfig(readEnvironment());
  const { BROKER: broker, KAFKA_TOPIC: topic, KINESIS_STREAM: stream } = config;
  switch (broker) {
    case 'postgres':
      if (format === 'json') return printJson({ broker, made: 'nothing' });
      return printLine('Nothing to create: the Postgres broker is a table (BROKER=postgres)');
    case 'kafka': {
      const { createTopic } = await import('../../brokers/kafka/client.ts');
      const { partitions, made } = await createTopic(config, createLogger('topics', config));
      if (format === 'json') return printJson({ broker, topic, partitions, made });
      return printLine(`${RESULT_TEXT[made]}: topic ${topic}, ${counted(partitions, 'partition')}`);
    }
    case 'kinesis': {
      const { createStream } = await import('../../brokers/kinesis/client.ts');
      const { shards, made } = await createStream(config);
      if (format === 'json') return printJson({ broker, stream, shards, made });
      return printLine(`${RESULT_TEXT[made]}: stream ${stream}, ${counted(shards, 'shard')}`);
    }
    default:
      return broker satisfies never;
  }
});

const RESULT_TEXT = {
  all: 'Created',
  partitions: 'Added partitions',
  shards: 'Added shards',
  nothing: 'Exists already',
} as const;

export const topics = group('topics', 'Manage the topic or the stream that carries the clicks', [create]);
