import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { startEmbeddedPostgres } from '../../cli/start/embedded-postgres.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { migrate } from '../../migrations/migrate.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import type { BenchContext } from './bench.ts';
import type { CpuMicros } from './cpu-samples.ts';
import { type BenchResult, compareRounds, medianMicros } from './result.ts';
import { watchCpu } from './server-cpu.ts';

export const RETENTION = { clickAgeDays: 14, linkLifeDays: 90, evidenceDays: 90 };

/** Starts a PostgreSQL with an empty database, without migrations, and resolves to its URL. */
export async function startServer({ resources, logger }: BenchContext): Promise<string> {
  const postgres = await startEmbeddedPostgres(resources.folder(), logger);
  resources.add({ name: 'PostgreSQL', close: () => postgres.stop() });
  return postgres.url;
}

/** Migrates a database and opens a pool with default settings. */
export async function openDatabase(
  url: string,
  connections: number,
  { resources, logger }: BenchContext,
): Promise<Pool> {
  await migrate(url, RETENTION, logger);
  const pool = createPool(url, 'bench', connections, () => {});
  resources.add({ name: 'connections', close: () => pool.end() });
  return pool;
}

/** Charges a batch. Throws unless every click is charged. */
export async function charge(pool: Pool, batch: readonly ReadClick[]): Promise<void> {
  const { outcomes } = await chargeClicks(pool, batch, { clickAgeMaxDays: RETENTION.clickAgeDays });
  const wrong = outcomes.find(({ outcome }) => outcome !== 'charged');
  if (wrong) throw new Error(`Expected all clicks to be charged, got ${wrong.outcome}: ${wrong.reason}`);
}

/** The rate in clicks per second, and the CPU time per click of Node and of PostgreSQL in µs. */
export type ChargeCosts = { readonly rate: number; readonly cpuMicros: CpuMicros };

/** Settles all lanes concurrently, each one batch at a time. */
export async function costsOf(
  pool: Pool,
  lanes: readonly (readonly ReadClick[][])[],
  settle: (batch: readonly ReadClick[]) => Promise<void>,
): Promise<ChargeCosts> {
  const readCpu = await watchCpu(pool);
  // A checkpoint, so that no dirty pages of the previous measurement are written during this one.
  await pool.query('checkpoint');
  const cpuBefore = readCpu();
  const startedAt = performance.now();
  await Promise.all(
    lanes.map(async (batches) => {
      for (const batch of batches) await settle(batch);
    }),
  );
  const tookMs = performance.now() - startedAt;
  const cpu = readCpu();
  const clicks = lanes.flat().reduce((sum, batch) => sum + batch.length, 0);
  return {
    rate: (clicks / tookMs) * 1_000,
    cpuMicros: {
      Node: (cpu.node - cpuBefore.node) / clicks,
      PostgreSQL: (cpu.postgres - cpuBefore.postgres) / clicks,
    },
  };
}

/** Settles all lanes concurrently, each one batch at a time, and returns the rate in clicks per second. */
export async function rateOf(...work: Parameters<typeof costsOf>): Promise<number> {
  return (await costsOf(...work)).rate;
}

/** Compares the rates of charges that were measured in rounds, each with its reference, and shows the CPU time of both. */
export function compareCharges(
  name: string,
  bar: number | null,
  rounds: readonly { ours: ChargeCosts; reference: ChargeCosts }[],
  note: string,
): BenchResult {
  const rates = rounds.map(({ ours, reference }) => ({ ours: ours.rate, reference: reference.rate }));
  return {
    ...compareRounds(name, 'clicks/s', bar, rates, [note]),
    cpuMicros: {
      ours: medianMicros(rounds.map(({ ours }) => ours.cpuMicros)),
      reference: medianMicros(rounds.map(({ reference }) => reference.cpuMicros)),
    },
  };
}

/** Throws unless a deep reconciliation balances. */
export async function assertBalanced(name: string, pool: Pool): Promise<void> {
  const { balanced, missing, problems } = await reconcile(pool, { brokers: [postgresBacklog], deep: true });
  if (!balanced || missing > 0)
    throw new Error(`${name}: the books do not balance: ${missing} missing; ${problems.join('; ')}`);
}
