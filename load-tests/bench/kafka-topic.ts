import { createTopic } from '../../brokers/kafka/client.ts';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import { type Config, parseConfig } from '../../common/config/config.ts';
import { startKafka } from '../../emulators/kafka/start.ts';
import type { BenchContext } from './bench.ts';
import { makeRecords } from './charge-data.ts';

/** Advertisers of the clicks that `publishClicks` makes. */
export const ADVERTISERS = 1_000;
const CLICKS_AT_ONCE = 50_000;
const BATCH = 1_000;

/** The Kafka of the current benchmark, shared by its topics. */
let kafka: { brokers: string; owner: BenchContext['resources'] } | null = null;

/** A new topic on the Kafka of this benchmark, which is started for the first topic, and the settings of its clients. */
export async function openTopic(
  { resources, logger, progress, settings: more }: BenchContext,
  name: string,
): Promise<Config> {
  if (kafka === null || kafka.owner !== resources) {
    progress.say('Starting Kafka');
    const server = await startKafka({ life: 'long' });
    kafka = { brokers: server.brokers, owner: resources };
    resources.add({
      name: 'Kafka',
      close: () => {
        kafka = null;
        return server.stop();
      },
    });
  }
  const topic = `${name}-${Date.now()}`;
  const settings = {
    ...more,
    BROKER: 'kafka',
    KAFKA_BROKERS: kafka.brokers,
    KAFKA_TOPIC: topic,
    KAFKA_GROUP: topic,
  };
  const config = parseConfig(settings);
  await createTopic(config, logger);
  return config;
}

/** The settings of a topic as environment variables. */
export function environmentOf(config: Config): Record<string, string> {
  const { BROKER, KAFKA_BROKERS, KAFKA_TOPIC, KAFKA_GROUP } = config;
  return { BROKER, KAFKA_BROKERS: KAFKA_BROKERS.join(','), KAFKA_TOPIC, KAFKA_GROUP };
}

/** Publishes new clicks on evergreen links to a topic. */
export async function publishClicks(config: Config, { logger }: BenchContext, clicks: number): Promise<void> {
  const publisher = await createKafkaPublisher(config, logger);
  for (let made = 0; made < clicks; made += CLICKS_AT_ONCE) {
    const records = makeRecords(Math.min(CLICKS_AT_ONCE, clicks - made), ADVERTISERS, 'evergreen');
    for (let at = 0; at < records.length; at += BATCH) await publisher.publish(records.slice(at, at + BATCH));
  }
  await publisher.close();
}
