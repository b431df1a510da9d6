import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { startEmbeddedPostgres } from '../../cli/start/embedded-postgres.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { migrate } from '../../migrations/migrate.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import type { BenchContext } from './bench.ts';

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

/** Settles all lanes concurrently, each one batch at a time, and returns the rate in clicks per second. */
export async function rateOf(
  pool: Pool,
  lanes: readonly (readonly ReadClick[][])[],
  settle: (batch: readonly ReadClick[]) => Promise<void>,
): Promise<number> {
  // A checkpoint, so that no dirty pages of the previous measurement are written during this one.
  await pool.query('checkpoint');
  const startedAt = performance.now();
  await Promise.all(
    lanes.map(async (batches) => {
      for (const batch of batches) await settle(batch);
    }),
  );
  const clicks = lanes.flat().reduce((sum, batch) => sum + batch.length, 0);
  return (clicks / (performance.now() - startedAt)) * 1_000;
}

/** Throws unless a deep reconciliation balances. */
export async function assertBalanced(name: string, pool: Pool): Promise<void> {
  const { balanced, missing, problems } = await reconcile(pool, { brokers: [postgresBacklog], deep: true });
  if (!balanced || missing > 0)
    throw new Error(`${name}: the books do not balance: ${missing} missing; ${problems.join('; ')}`);
}
