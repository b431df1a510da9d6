import type { Pool } from '../../common/postgres/postgres.ts';
import type { Bench } from './bench.ts';
import { makeAdvertisers, PRICE_MICROS } from './charge-data.ts';
import { openDatabase, startServer } from './charge-database.ts';
import { assertDrained, type Drained, drain, rateFromFirst } from './drain-processor.ts';
import { buildFlinkJob, type FlinkRun, type FlinkVariant, runFlinkJob } from './flink-job.ts';
import { ADVERTISERS, openTopic, publishClicks } from './kafka-topic.ts';
import { type BenchResult, compareLimit, compareRounds, round } from './result.ts';

const CLICKS = 1_000_000;
const BUDGET_MICROS = 1_000_000_000_000_000;
/** The least rate against that of each variant, and the share of its memory that the processor may take. */
const BARS: Readonly<Record<FlinkVariant, number>> = { stock: 1.5, keyed: 1 };
const MEMORY_SHARE_MAX = 0.5;

/**
 * Apache Flink drains the topic of a processor into tables of the same PostgreSQL: with the sinks of its JDBC connector, and with a transaction a
 * batch behind `keyBy(advertiser)`, which charges each click once like the processor. Both rates count from the first click on. Needs Java and Maven.
 */
export const benchDrainFlink: Bench = async (context) => {
  const { progress } = context;
  const job = await buildFlinkJob();
  const url = await startServer(context);
  const pool = await openDatabase(url, 2, context);
  await makeAdvertisers(pool, ADVERTISERS);
  const config = await openTopic(context, 'tollway-flink');
  progress.say(`drain-flink: publishing ${CLICKS} clicks`);
  await publishClicks(config, context, CLICKS);
  const topic = {
    databaseUrl: url,
    brokers: config.KAFKA_BROKERS.join(','),
    topic: config.KAFKA_TOPIC,
    clicks: CLICKS,
  };
  const measure = async (variant: FlinkVariant) => {
    await makeTables(pool);
    progress.say(`drain-flink: Flink with ${variant} sinks`);
    const run = await runFlinkJob(job, variant, topic, context);
    await assertCharged(pool, variant);
    return run;
  };
  const stock = await measure('stock');
  await pool.query('drop table flink_ledger; checkpoint');
  progress.say('drain-flink: the processor');
  const drained = await drain(context, config, pool, url, CLICKS);
  await assertDrained(pool, config, CLICKS, context);
  const keyed = await measure('keyed');
  return [...compareWith('stock', drained, stock), ...compareWith('keyed', drained, keyed)];
};

async function makeTables(pool: Pool): Promise<void> {
  await pool.query(
    `drop table if exists flink_ledger, flink_advertiser;
     create table flink_advertiser (id integer primary key, budget_micros bigint not null,
       remaining_micros bigint not null check (remaining_micros >= 0)) with (fillfactor = 50);
     create table flink_ledger (click_id uuid primary key, advertiser_id integer not null, ad_id integer not null,
       charged_micros bigint not null, clicked_at timestamptz not null);
     insert into flink_advertiser select id, ${BUDGET_MICROS}, ${BUDGET_MICROS} from generate_series(1, ${ADVERTISERS}) id;
     checkpoint`,
  );
}

/** Throws unless each click is in Flink's ledger once and is subtracted from the budgets once. */
async function assertCharged(pool: Pool, variant: FlinkVariant): Promise<void> {
  const { rows } = await pool.query<{ clicks: number; charged: number }>(
    `select (select count(*) from flink_ledger)::float8 as clicks,
       (select sum(budget_micros - remaining_micros) from flink_advertiser)::float8 / ${PRICE_MICROS} as charged`,
  );
  const { clicks, charged } = rows[0] ?? { clicks: 0, charged: 0 };
  if (clicks !== CLICKS || charged !== CLICKS)
    throw new Error(
      `Flink with ${variant} sinks: expected ${CLICKS} charged clicks, got ${clicks} rows and ${charged} in the budgets`,
    );
}

function compareWith(variant: FlinkVariant, drained: Drained, flink: FlinkRun): BenchResult[] {
  const name = `drain-flink-${variant}`;
  const rate = compareRounds(
    name,
    'clicks/s',
    BARS[variant],
    [{ ours: rateFromFirst(drained, CLICKS), reference: CLICKS / flink.seconds }],
    [
      `one run of ${CLICKS} clicks, both from the first click on; the CPU time of the processor includes its start, that of the JVM does not`,
    ],
  );
  const limit = flink.megabytes * MEMORY_SHARE_MAX;
  const memory = compareLimit(`${name}-memory`, 'MB', 'max', drained.megabytes, limit, [
    `highest resident memory of the processor, against half of that of the JVM (${round(flink.megabytes)} MB, with a heap of 2 GB)`,
  ]);
  return [
    {
      ...rate,
      cpuMicros: {
        ours: { processor: drained.cpuMicros.processor ?? Number.NaN },
        reference: { JVM: round((flink.cpuSeconds / CLICKS) * 1e6) },
      },
    },
    memory,
  ];
}
