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
/** Batches per writer and round by batch size: about a second of work. */
const BATCHES_A_WRITER = new Map([
  [100, 60],
  [1_000, 20],
  [5_000, 4],
]);
const WRITERS_MAX = Math.max(...WRITERS);
/** Delay in each direction, in ms. A round trip takes twice as long. */
const DELAY_MS = 0.5;
const PINGS = 200;

/**
 * Processors with a network latency to PostgreSQL. Compares a uniformly distributed record key, with which all processors charge all advertisers
 * and wait for each other's locks, with a record key by advertiser, with which they never share an advertiser.
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

/** A pool for the same database through the latency proxy. */
async function openFarAway(url: string, { resources }: BenchContext): Promise<Pool> {
  const { hostname, port } = new URL(url);
  const proxy = resources.child([process.execPath, join(import.meta.dirname, 'latency-proxy.ts')]);
  const start: ProxyRequest = { host: hostname, port: Number(port), delayMs: DELAY_MS };
  const started = await request<ProxyStarted>(proxy, start);
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
      // New clicks for each variant, because clicks in the ledger are not charged again.
      const clicks = decodeRecords(makeRecords(writers * batches * size, ADVERTISERS, 'evergreen'));
      const split = variant === 'ours' ? splitEvenly : splitBatches;
      return rateOf(pool, split(clicks, writers, size), (batch) => charge(pool, batch));
    };
  });
  return compareRounds(name, 'clicks/s', null, measured, [
    `${writers} writer(s), batches of ${size}, ${ADVERTISERS} advertisers, evergreen links; ours: a uniformly distributed ` +
      `record key; reference: a record key by advertiser; ${note}`,
  ]);
}
