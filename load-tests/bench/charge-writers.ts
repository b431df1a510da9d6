import { join } from 'node:path';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import type { Bench, BenchContext } from './bench.ts';
import { decodeRecords, makeAdvertisers, makeRecords, splitBatches, splitEvenly } from './charge-data.ts';
import { assertBalanced, charge, openDatabase, rateOf, startServer } from './charge-database.ts';
import { request } from './child-port.ts';
import { measureInterleaved } from './interleaved-rounds.ts';
import type { ProxyRequest, ProxyStarted } from './latency-proxy.ts';
import { type BenchResult, compareRounds, median } from './result.ts';

const ADVERTISERS = 1_000;
const WRITERS = [1, 4, 16] as const;
/** Batches that a writer charges in a round, by their size: about a second's work. */
const BATCHES_A_WRITER = new Map([
  [100, 60],
  [1_000, 20],
  [5_000, 4],
]);
const WRITERS_MAX = Math.max(...WRITERS);
/** Each way: what is added to a round trip is twice as much. */
const DELAY_MS = 0.5;
const PINGS = 200;

/**
 * Processors that are a network away from PostgreSQL: what they charge with a record key that is uniform, so that all
 * write for all advertisers and wait for each other's locks, beside a key by advertiser, with which they never meet.
 */
export const benchChargeWriters: Bench = async (context) => {
  const url = await startServer(context);
  const near = await openDatabase(url, 1, context);
  await makeAdvertisers(near, ADVERTISERS);
  const far = await openFarAway(url, context);
  const [nearMs, farMs] = [await roundTripMs(near), await roundTripMs(far)];
  const results: BenchResult[] = [];
  for (const writers of WRITERS) {
    for (const [size, batches] of BATCHES_A_WRITER) {
      const note = `round trip ${farMs.toFixed(2)} ms, without the proxy ${nearMs.toFixed(2)} ms`;
      results.push(await compare(far, { writers, size, batches, note }, context));
    }
  }
  await assertBalanced('charge-writers', near);
  return results;
};

/** Connections to the same database through a process that delays them. */
async function openFarAway(url: string, { resources }: BenchContext): Promise<Pool> {
  const { hostname, port } = new URL(url);
  const proxy = resources.child([process.execPath, join(import.meta.dirname, 'latency-proxy.ts')]);
  const question: ProxyRequest = { host: hostname, port: Number(port), delayMs: DELAY_MS };
  const started = await request<ProxyStarted>(proxy, question);
  const farUrl = new URL(url);
  farUrl.port = String(started.port);
  const pool = createPool(farUrl.href, 'bench', WRITERS_MAX + 1, () => {});
  resources.add({ name: 'connections', close: () => pool.end() });
  return pool;
}

async function roundTripMs(pool: Pool): Promise<number> {
  const times: number[] = [];
  for (let ping = 0; ping < PINGS; ping += 1) {
    const startedAt = performance.now();
    await pool.query('select 1');
    times.push(performance.now() - startedAt);
  }
  return median(times);
}

async function compare(
  pool: Pool,
  { writers, size, batches, note }: { writers: number; size: number; batches: number; note: string },
  { progress, rounds }: BenchContext,
): Promise<BenchResult> {
  const name = `charge-writers-${writers}x${size}`;
  const measured = await measureInterleaved(['ours', 'reference'], rounds, (round) => {
    progress.show(`${name}: round ${round} of ${rounds}`);
    return (variant) => {
      // Clicks of its own for each way: what is in the ledger is not charged again.
      const clicks = decodeRecords(makeRecords(writers * batches * size, ADVERTISERS, 'evergreen'));
      const deal = variant === 'ours' ? splitEvenly : splitBatches;
      return rateOf(pool, deal(clicks, writers, size), (batch) => charge(pool, batch));
    };
  });
  return compareRounds(name, 'clicks/s', null, measured, [
    `${writers} writer(s), batches of ${size}, ${ADVERTISERS} advertisers, evergreen links; ours: a uniform record key; ` +
      `the reference: a key by advertiser; ${note}`,
  ]);
}
