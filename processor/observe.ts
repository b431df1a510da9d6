import { sleep } from '../common/lifecycle.ts';
import type { Metrics } from '../common/metrics.ts';
import type { Pool } from '../common/postgres.ts';
import type { EventSource } from './event-source.ts';

/** Most advertisers whose budgets are exported, the latest first: a bound for Prometheus, not for us. */
const ADVERTISERS_MAX = 10_000;
/** Answers are kept this long, in ms, so that scraping never loads the database. */
const FRESH_MS = 1_000;
/** Longest wait for a broker to say what waits in it, in ms. */
const LAG_MS_MAX = 800;
const observedAt = new WeakMap<Metrics, number>();

/** Reads what only the database knows into the metrics: budgets, dead letters, what waits in the broker. */
export async function observeBooks(
  pool: Pool,
  sources: ReadonlyMap<string, EventSource>,
  metrics: Metrics,
): Promise<void> {
  if (performance.now() - (observedAt.get(metrics) ?? Number.NEGATIVE_INFINITY) < FRESH_MS) return;
  observedAt.set(metrics, performance.now());
  try {
    const [advertisers, letters] = await Promise.all([
      pool.query<{ id: number; currency: string; remaining: number; spent: number }>(
        `select id, currency, remaining_micros / 1e6::float8 as remaining, spent_micros / 1e6::float8 as spent
         from advertiser order by id desc limit ${ADVERTISERS_MAX}`,
      ),
      pool.query<{ count: number }>(
        'select count(*)::float8 as count from dead_letter where discarded_at is null',
      ),
    ]);
    for (const { id, currency, remaining, spent } of advertisers.rows) {
      metrics.budgetRemaining.set({ advertiser: id, currency }, remaining);
      metrics.budgetSpent.set({ advertiser: id, currency }, spent);
      // An alert on what it grows by has to see it at 0.
      metrics.overDelivery.inc({ currency }, 0);
    }
    metrics.deadLetters.set(letters.rows[0]?.count ?? 0);
    metrics.databaseUp.set(1);
  } catch {
    metrics.databaseUp.set(0);
  }
  for (const [broker, source] of sources) {
    // A broker that does not say leaves what it said last. Whoever scrapes has little patience.
    const lag = await Promise.race([source.lag().catch(() => null), sleep(LAG_MS_MAX).then(() => null)]);
    if (lag === null) {
      metrics.brokerUp.set(0);
      continue;
    }
    metrics.lagRecords.set({ broker }, lag.records);
    metrics.lagAge.set({ broker }, lag.oldestAgeSeconds);
  }
}
