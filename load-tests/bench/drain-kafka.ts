import { join } from 'node:path';
import type { Config } from '../../common/config/config.ts';
import type { Bench, BenchContext } from './bench.ts';
import { makeAdvertisers } from './charge-data.ts';
import { openDatabase, startServer } from './charge-database.ts';
import { assertDrained, drain, rateFromFirst } from './drain-processor.ts';
import { ADVERTISERS, environmentOf, openTopic, publishClicks } from './kafka-topic.ts';
import { NODE } from './node-command.ts';
import { compareLimit, median } from './result.ts';

const CLICKS = 500_000;
const WARM_UP_CLICKS = 100_000;
const DRAIN_PER_SECOND = 70_000;
const TIMES_TUTORIAL = 40;
const TUTORIAL_CLICKS = 40_000;
const TUTORIAL_MS = 6_000;
const WAIT_MS_MAX = 180_000;
const RESIDENT_MB_MAX = 400;

/**
 * One processor with default settings drains clicks from a real Kafka into PostgreSQL, compared with a typical tutorial consumer. All processes
 * run on this machine.
 */
export const benchDrainKafka: Bench = async (context) => {
  const { progress } = context;
  const url = await startServer(context);
  const pool = await openDatabase(url, 2, context);
  const config = await openTopic(context, 'tollway-drain');
  const tutorial = await openTopic(context, 'tutorial');
  await makeAdvertisers(pool, ADVERTISERS);
  progress.say(`drain-kafka: publishing ${CLICKS} clicks`);
  await publishClicks(config, context, CLICKS);
  await publishClicks(tutorial, context, TUTORIAL_CLICKS);
  // Warms up Kafka and PostgreSQL. The measured processor is a new process.
  const warmUp = await openTopic(context, 'tollway-warm-up');
  await publishClicks(warmUp, context, WARM_UP_CLICKS);
  await drain(context, warmUp, pool, url, WARM_UP_CLICKS);

  const before = await measureTutorial(context, tutorial, url, 'before');
  await pool.query('checkpoint');
  progress.say('drain-kafka: draining');
  const drained = await drain(context, config, pool, url, CLICKS);
  const { firstMs, lastMs, megabytes, cpuMicros } = drained;
  const after = await measureTutorial(context, tutorial, url, 'after');
  await assertDrained(pool, config, CLICKS + WARM_UP_CLICKS, context);

  const rate = (CLICKS / lastMs) * 1_000;
  const fromFirst = rateFromFirst(drained, CLICKS);
  const row = compareLimit('drain-kafka', 'clicks/s', 'min', rate, DRAIN_PER_SECOND, [
    `${CLICKS} clicks over ${ADVERTISERS} advertisers, from the start of the process to the last row; the first click was charged ` +
      `after ${(firstMs / 1_000).toFixed(1)} s, the others at ${fromFirst.toFixed(0)}/s; books balance (deep)`,
  ]);
  return [
    { ...row, cpuMicros: { ours: cpuMicros } },
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
