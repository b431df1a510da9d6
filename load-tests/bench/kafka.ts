import { once } from 'node:events';
import { join } from 'node:path';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createTopic } from '../../brokers/kafka/client.ts';
import { createKafkaPublisher } from '../../brokers/kafka/publisher.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import { startEmbeddedPostgres } from '../../cli/start/embedded-postgres.ts';
import { type Config, parseConfig } from '../../common/config/config.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { startKafka } from '../../emulators/kafka/start.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { migrate } from '../../migrations/migrate.ts';
import { Relay } from '../../producer/relay.ts';
import { Spool } from '../../producer/spool.ts';
import type { Bench, BenchContext } from './bench.ts';
import { makeAdvertisers, makeRecords } from './charge-data.ts';
import { watchMemory } from './resident-memory.ts';
import { compareLimit, median } from './result.ts';

const CLICKS = 500_000;
const WARM_UP_CLICKS = 100_000;
const CLICKS_AT_ONCE = 50_000;
const BATCH = 1_000;
const ADVERTISERS = 1_000;
const PRICE_MICROS = 10_000;
const DRAIN_PER_SECOND = 70_000;
const TIMES_TUTORIAL = 40;
const TUTORIAL_CLICKS = 40_000;
const TUTORIAL_MS = 6_000;
const RESIDENT_MB_MAX = 400;
const PUBLISH_PER_SECOND = 40_000;
const SPOOLED_CLICKS = 200_000;
const WAIT_MS_MAX = 180_000;
const POLL_MS = 50;
const RETENTION = { clickAgeDays: 14, linkLifeDays: 90, evidenceDays: 90 };
/** The Node command of `npm start`. */
const NODE = [
  process.execPath,
  '--max-semi-space-size=16',
  '--disable-warning=TimeoutNegativeWarning',
] as const;

/**
 * One processor with default settings drains clicks from a real Kafka into PostgreSQL, compared with a typical tutorial consumer. All processes
 * run on this machine.
 */
export const benchDrainKafka: Bench = async (context) => {
  const { progress } = context;
  const { pool, url } = await openDatabase(context);
  const config = await openTopic(context, 'tollway-drain');
  const tutorial = await openTopic(context, 'tutorial');
  await makeAdvertisers(pool, ADVERTISERS);
  progress.say(`drain-kafka: publishing ${CLICKS} clicks`);
  await publish(config, context, CLICKS);
  await publish(tutorial, context, TUTORIAL_CLICKS);
  // Warms up Kafka and PostgreSQL. The measured processor is a new process.
  const warmUp = await openTopic(context, 'tollway-warm-up');
  await publish(warmUp, context, WARM_UP_CLICKS);
  await drain(context, warmUp, pool, url, WARM_UP_CLICKS);

  const before = await measureTutorial(context, tutorial, url, 'before');
  await pool.query('checkpoint');
  progress.say('drain-kafka: draining');
  const { firstMs, firstClicks, lastMs, megabytes } = await drain(context, config, pool, url, CLICKS);
  const after = await measureTutorial(context, tutorial, url, 'after');
  await assertBalanced(pool, config, context);

  const rate = (CLICKS / lastMs) * 1_000;
  const fromFirst = ((CLICKS - firstClicks) / (lastMs - firstMs)) * 1_000;
  return [
    compareLimit('drain-kafka', 'clicks/s', 'min', rate, DRAIN_PER_SECOND, [
      `${CLICKS} clicks over ${ADVERTISERS} advertisers, from the start of the process to the last row; the first click was charged ` +
        `after ${(firstMs / 1_000).toFixed(1)} s, the others at ${fromFirst.toFixed(0)}/s; books balance (deep)`,
    ]),
    compareLimit(
      'drain-kafka-tutorial',
      '× the tutorial',
      'min',
      fromFirst / median([before, after]),
      TIMES_TUTORIAL,
      [
        `both from their first click on; eachMessage with a transaction per click reached ${before.toFixed(0)}/s before and ` +
          `${after.toFixed(0)}/s after the drain, on the same broker and database`,
      ],
    ),
    compareLimit('drain-kafka-memory', 'MB', 'max', megabytes, RESIDENT_MB_MAX, [
      'highest resident memory of the processor, of two samples per second',
    ]),
  ];
};

type Drained = {
  /** Time at which the first poll saw charged clicks, and their number. */
  readonly firstMs: number;
  readonly firstClicks: number;
  readonly lastMs: number;
  readonly megabytes: number;
};

/** Runs a processor until `clicks` more clicks are charged. Times count from the start of its process. */
async function drain(
  { resources, env }: BenchContext,
  config: Config,
  pool: Pool,
  url: string,
  clicks: number,
): Promise<Drained> {
  const [port] = await freePorts(1);
  const charged = await countCharged(pool);
  const memory = watchMemory(process.pid, ['processor/main.ts']);
  resources.add({ name: 'memory watch', close: () => void memory.stop() });
  const startedAt = performance.now();
  const child = resources.child([...NODE, join(import.meta.dirname, '../../processor/main.ts')], {
    env: { ...env, ...environmentOf(config), DATABASE_URL: url, PROCESSOR_OPS_PORT: String(port) },
  });
  let first: { ms: number; clicks: number } | null = null;
  for (;;) {
    const found = (await countCharged(pool)) - charged;
    const ms = performance.now() - startedAt;
    if (found > 0) first ??= { ms, clicks: found };
    if (found >= clicks) {
      const megabytes = (memory.stop().get('processor/main.ts') ?? Number.NaN) / 1e6;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
      return { firstMs: first?.ms ?? ms, firstClicks: first?.clicks ?? 0, lastMs: ms, megabytes };
    }
    if (ms > WAIT_MS_MAX)
      throw new Error(`Expected ${clicks} charged clicks within ${WAIT_MS_MAX / 1_000} s, got ${found}`);
    await sleep(POLL_MS);
  }
}

async function countCharged(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ charged: number }>(
    'select (coalesce(sum(spent_micros), 0) / $1)::float8 as charged from advertiser',
    [PRICE_MICROS],
  );
  return rows[0]?.charged ?? 0;
}

/** One process publishes clicks from a spool on disk through the relay to a real Kafka. */
export const benchPublishKafka: Bench = async (context) => {
  const { resources, progress, logger, rounds } = context;
  const config = await openTopic(context, 'tollway-publish');
  const rates: number[] = [];
  const publisher = createKafkaPublisher(config, logger);
  resources.add({ name: 'publisher', close: () => publisher.close() });
  for (let round = 0; round <= rounds; round += 1) {
    progress.show(`publish-kafka: round ${round} of ${rounds}`);
    const rate = await relayOnce(resources.folder(), publisher, config, context);
    // Round 0 is a warm-up.
    if (round > 0) rates.push(rate);
  }
  return [
    compareLimit('publish-kafka', 'clicks/s', 'min', median(rates), PUBLISH_PER_SECOND, [
      `${SPOOLED_CLICKS} clicks per round, batches of ${config.RELAY_BATCH_MAX} (the default of RELAY_BATCH_MAX), acknowledged by all ` +
        `in-sync replicas; rounds ${Math.min(...rates).toFixed(0)}–${Math.max(...rates).toFixed(0)}/s`,
    ]),
  ];
};

async function relayOnce(
  root: string,
  publisher: Publisher,
  config: Config,
  { logger }: BenchContext,
): Promise<number> {
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
  const relay = new Relay(spool, { publisher, options, metrics, logger, onFreed: () => {} });
  spool.finish();
  relay.end();
  const startedAt = performance.now();
  await relay.run();
  const rate = (SPOOLED_CLICKS / (performance.now() - startedAt)) * 1_000;
  const { values } = await metrics.relayedClicks.get();
  if (values[0]?.value !== SPOOLED_CLICKS)
    throw new Error(`Expected ${SPOOLED_CLICKS} clicks to be relayed, got ${values[0]?.value}`);
  spool.close();
  return rate;
}

async function openDatabase({ resources, logger }: BenchContext): Promise<{ pool: Pool; url: string }> {
  const postgres = await startEmbeddedPostgres(resources.folder(), logger);
  resources.add({ name: 'PostgreSQL', close: () => postgres.stop() });
  await migrate(postgres.url, RETENTION, logger);
  const pool = createPool(postgres.url, 'bench', 2, () => {});
  resources.add({ name: 'connections', close: () => pool.end() });
  return { pool, url: postgres.url };
}

/** The Kafka of the current benchmark, shared by its topics. */
let kafka: { brokers: string; owner: BenchContext['resources'] } | null = null;

async function openTopic({ resources, logger, progress }: BenchContext, name: string): Promise<Config> {
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
  const settings = { BROKER: 'kafka', KAFKA_BROKERS: kafka.brokers, KAFKA_TOPIC: topic, KAFKA_GROUP: topic };
  const config = parseConfig(settings);
  await createTopic(config, logger);
  return config;
}

function environmentOf(config: Config): Record<string, string> {
  const { BROKER, KAFKA_BROKERS, KAFKA_TOPIC, KAFKA_GROUP } = config;
  return { BROKER, KAFKA_BROKERS: KAFKA_BROKERS.join(','), KAFKA_TOPIC, KAFKA_GROUP };
}

async function publish(config: Config, { logger }: BenchContext, clicks: number): Promise<void> {
  const publisher = createKafkaPublisher(config, logger);
  for (let made = 0; made < clicks; made += CLICKS_AT_ONCE) {
    const records = makeRecords(Math.min(CLICKS_AT_ONCE, clicks - made), ADVERTISERS, 'evergreen');
    for (let at = 0; at < records.length; at += BATCH) await publisher.publish(records.slice(at, at + BATCH));
  }
  await publisher.close();
}

async function assertBalanced(pool: Pool, config: Config, { logger }: BenchContext): Promise<void> {
  const brokers = await createBacklogs(config, logger);
  const { balanced, charged, missing, problems } = await reconcile(pool, { deep: true, brokers });
  if (!balanced || missing > 0 || charged !== CLICKS + WARM_UP_CLICKS)
    throw new Error(
      `The books do not balance: ${charged} charged, ${missing} missing; ${problems.join('; ')}`,
    );
}

/** Measures the clicks per second of the tutorial consumer, on its own topic. */
async function measureTutorial(
  { resources, progress, env }: BenchContext,
  config: Config,
  url: string,
  when: string,
): Promise<number> {
  progress.say(`drain-kafka: the tutorial consumer, ${when} the drain`);
  const child = resources.child([...NODE, join(import.meta.dirname, 'tutorial-consumer.ts')], {
    env: {
      ...env,
      ...environmentOf(config),
      // The consumer exits without leaving its group, so each run uses another group.
      KAFKA_GROUP: `${config.KAFKA_GROUP}-${when}`,
      DATABASE_URL: url,
      ADVERTISERS: String(ADVERTISERS),
      MEASURE_MS: String(TUTORIAL_MS),
    },
  });
  return new Promise((resolve, reject) => {
    child.once('message', (rate) => resolve(Number(rate)));
    const timeout = () => reject(new Error(`No result of the tutorial consumer within ${WAIT_MS_MAX} ms`));
    setTimeout(timeout, WAIT_MS_MAX).unref();
    child.once('exit', (code) => reject(new Error(`The tutorial consumer ended with ${code}`)));
  });
}
