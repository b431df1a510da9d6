import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import type { Config } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { Relay } from '../../producer/relay.ts';
import { Spool } from '../../producer/spool.ts';
import type { Bench, BenchContext } from './bench.ts';
import { makeRecords } from './charge-data.ts';
import { ADVERTISERS, openTopic } from './kafka-topic.ts';
import { compareLimit, median, round } from './result.ts';

const PUBLISH_PER_SECOND = 40_000;
const SPOOLED_CLICKS = 200_000;

/** One process publishes clicks from a spool on disk through the relay to a real Kafka. */
export const benchPublishKafka: Bench = async (context) => {
  const { resources, progress, logger, rounds } = context;
  const config = await openTopic(context, 'tollway-publish');
  const measured: { rate: number; micros: number }[] = [];
  const publisher = await createKafkaPublisher(config, logger);
  resources.add({ name: 'publisher', close: () => publisher.close() });
  for (let index = 0; index <= rounds; index += 1) {
    progress.show(`publish-kafka: round ${index} of ${rounds}`);
    const relayed = await relayOnce(resources.folder(), publisher, config, context);
    // Round 0 is a warm-up.
    if (index > 0) measured.push(relayed);
  }
  const rates = measured.map(({ rate }) => rate);
  const row = compareLimit('publish-kafka', 'clicks/s', 'min', median(rates), PUBLISH_PER_SECOND, [
    `${SPOOLED_CLICKS} clicks per round, batches of ${config.RELAY_BATCH_MAX} (the default of RELAY_BATCH_MAX), acknowledged by all ` +
      `in-sync replicas; rounds ${Math.min(...rates).toFixed(0)}–${Math.max(...rates).toFixed(0)}/s`,
  ]);
  return [
    { ...row, cpuMicros: { ours: { publishing: round(median(measured.map(({ micros }) => micros))) } } },
  ];
};

async function relayOnce(
  root: string,
  publisher: Publisher,
  config: Config,
  { logger }: BenchContext,
): Promise<{ rate: number; micros: number }> {
  const spool = new Spool(
    { root, bytesMax: 1_073_741_824, segmentBytes: 8_388_608, sync: 'os', syncIntervalMs: 100 },
    logger,
  );
  for (const { value } of makeRecords(SPOOLED_CLICKS, ADVERTISERS, 'evergreen'))
    spool.append(String(value), () => {});
  await new Promise((spooled) => setImmediate(spooled));
  const metrics = createMetrics();
  const options = {
    batchMax: config.RELAY_BATCH_MAX,
    lingerMs: 0,
    watermarkIntervalMs: config.WATERMARK_INTERVAL_MS,
  };
  const relay = new Relay(spool, { publisher, options, metrics, logger });
  spool.finish();
  relay.end();
  const startedAt = performance.now();
  const usedBefore = process.cpuUsage();
  await relay.run();
  const rate = (SPOOLED_CLICKS / (performance.now() - startedAt)) * 1_000;
  const { user, system } = process.cpuUsage(usedBefore);
  const { values } = await metrics.relayedClicks.get();
  if (values[0]?.value !== SPOOLED_CLICKS)
    throw new Error(`Expected ${SPOOLED_CLICKS} clicks to be relayed, got ${values[0]?.value}`);
  spool.close();
  return { rate, micros: (user + system) / SPOOLED_CLICKS };
}
