import { once } from 'node:events';
import { join } from 'node:path';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import type { Config } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import type { BenchContext } from './bench.ts';
import { PRICE_MICROS } from './charge-data.ts';
import type { CpuMicros } from './cpu-samples.ts';
import { environmentOf } from './kafka-topic.ts';
import { NODE } from './node-command.ts';
import { processMicros, readProcesses, treeMicros } from './process-cpu.ts';
import { watchMemory } from './resident-memory.ts';
import { round } from './result.ts';
import { findServer } from './server-cpu.ts';

const WAIT_MS_MAX = 180_000;
const POLL_MS = 50;

/** What a processor needed to charge the clicks of a topic. Times in ms from the start of its process. */
export type Drained = {
  /** Time at which the first poll saw charged clicks, and their number. */
  readonly firstMs: number;
  readonly firstClicks: number;
  readonly lastMs: number;
  readonly megabytes: number;
  /** CPU time per click, from the start of the process. */
  readonly cpuMicros: CpuMicros;
};

/** Runs a processor of this checkout until `clicks` more clicks are charged. Times count from the start of its process. */
export async function drain(
  { resources, env, settings }: BenchContext,
  config: Config,
  pool: Pool,
  url: string,
  clicks: number,
): Promise<Drained> {
  const [port] = await freePorts(1);
  const charged = await countCharged(pool);
  const memory = watchMemory(process.pid, ['processor/main.ts']);
  const server = await findServer(pool);
  const serverMicros = treeMicros(readProcesses(), server);
  resources.add({ name: 'memory watch', close: () => void memory.stop() });
  const startedAt = performance.now();
  const child = resources.child([...NODE, join(import.meta.dirname, '../../processor/main.ts')], {
    env: {
      ...env,
      ...settings,
      ...environmentOf(config),
      DATABASE_URL: url,
      PROCESSOR_OPS_PORT: String(port),
    },
  });
  let first: { ms: number; clicks: number } | null = null;
  for (;;) {
    const found = (await countCharged(pool)) - charged;
    const ms = performance.now() - startedAt;
    if (found > 0) first ??= { ms, clicks: found };
    if (found >= clicks) {
      const cpuMicros = {
        processor: round(processMicros(child.pid ?? 0) / clicks),
        PostgreSQL: round((treeMicros(readProcesses(), server) - serverMicros) / clicks),
      };
      const megabytes = (memory.stop().get('processor/main.ts') ?? Number.NaN) / 1e6;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
      return { firstMs: first?.ms ?? ms, firstClicks: first?.clicks ?? 0, lastMs: ms, megabytes, cpuMicros };
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

/** Clicks per second from the first poll on that saw charged clicks. */
export function rateFromFirst({ firstMs, firstClicks, lastMs }: Drained, clicks: number): number {
  return ((clicks - firstClicks) / (lastMs - firstMs)) * 1_000;
}

/** Throws unless a deep reconciliation balances with so many charged clicks. */
export async function assertDrained(
  pool: Pool,
  config: Config,
  clicks: number,
  { logger }: BenchContext,
): Promise<void> {
  const brokers = await createBacklogs(config, logger);
  const { balanced, charged, missing, problems } = await reconcile(pool, { deep: true, brokers });
  if (!balanced || missing > 0 || charged !== clicks)
    throw new Error(
      `The books do not balance: ${charged} charged, ${missing} missing; ${problems.join('; ')}`,
    );
}
