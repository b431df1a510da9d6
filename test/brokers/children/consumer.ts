/**
 * A consumer that ends by SIGKILL at a given point. CRASH is `before` or `after` the commit of its first batch, or `hold`: the first
 * batch never reaches the handler, and the test kills the process.
 */
import { pino } from 'pino';
import { createSources } from '../../../brokers/create-event-sources.ts';
import type { BatchSink } from '../../../brokers/event-source.ts';
import { parseConfig } from '../../../common/config/config.ts';
import { createPool } from '../../../common/postgres/postgres.ts';
import { createMetrics } from '../../../common/telemetry/metrics.ts';
import { BatchDispatcher } from '../../../processor/dispatch/batch-dispatcher.ts';

// The test has ended.
process.once('disconnect', () => process.exit(1));
const config = parseConfig(process.env);
const databaseUrl = config.DATABASE_URL ?? '';
const { CRASH: point } = process.env;
const pool = createPool(databaseUrl, 'crashing consumer', 6, () => undefined);
const wrap = { metrics: createMetrics(), logger: pino(), onInvariant: () => process.exit(1) };
const { BATCH_SIZE: batchSize, PARALLELIZATION: lanes } = config;
const options = { batchSize, lanes, clickAgeMaxDays: 14, retryAttempts: 1 };
const dispatcher = new BatchDispatcher(pool, options, wrap);
let deliveries = 0;

const die = () => process.kill(process.pid, 'SIGKILL');
const submit: BatchSink['submit'] = async (records, signal) => {
  deliveries += 1;
  const isFirst = deliveries === 1;
  if (isFirst && point === 'before') die();
  if (isFirst && point === 'hold') {
    process.stdout.write('held\n');
    return new Promise(() => undefined);
  }
  await dispatcher.submit(records, signal);
  if (isFirst && point === 'after') die();
};

const sources = await createSources(
  { ...config, DATABASE_URL: databaseUrl },
  pool,
  {
    waitForCapacity: dispatcher.waitForCapacity,
    submit,
    commitProbes: dispatcher.commitProbes,
    forget: dispatcher.forget,
    unlockedCount: dispatcher.unlockedCount,
  },
  wrap,
);
for (const source of sources.values()) void source.run();
