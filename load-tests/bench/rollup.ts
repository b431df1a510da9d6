import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { runRollupLoop } from '../../processor/rollup-loop.ts';
import type { Bench, BenchContext } from './bench.ts';
import { decodeRecords, makeAdvertisers, makeRecords, splitBatches } from './charge-data.ts';
import { assertBalanced, charge, openDatabase, rateOf, startServer } from './charge-database.ts';
import { type BenchResult, compareLimit, compareRounds } from './result.ts';
import { watchTotalCpu } from './server-cpu.ts';

/** The benchmark measures the default settings. */
const CONFIG = parseConfig({});
const { BATCH_SIZE, PARALLELIZATION: LANES } = CONFIG;
const ADVERTISERS = 1_000;
/** Clicks/s that the rollup must keep up with. */
const RATE = 50_000;
/** The loop runs every 3 s, at this rate once for so many clicks. */
const CLICKS_A_RUN = 3 * RATE;
const RUNS_A_ROUND = 2;
/** The charge may cost this share of its CPU time more with the rollup: 1 / 1.03. */
const CPU_BAR = 0.97;
const LAG_SECONDS = 10;
const LAG_SECONDS_MAX = 5;
const SAMPLE_MS = 100;

/** The rollup beside the charge: its share of the CPU time, and how far it is behind. */
export const benchRollup: Bench = async (context) => {
  const url = await startServer(context);
  const pool = await openDatabase(url, LANES + 2, context);
  await makeAdvertisers(pool, ADVERTISERS);
  const results = [await compareCpu(pool, context), await measureLag(pool, url, context)];
  await assertBalanced('rollup', pool);
  return results;
};

function makeLanes(clicks: number): ReadClick[][][] {
  return splitBatches(decodeRecords(makeRecords(clicks, ADVERTISERS, 'evergreen')), LANES, BATCH_SIZE);
}

/**
 * Measures the CPU time of charges and of the runs between them, one after the other: the difference of two rounds, with the rollup and
 * without it, would be less than their noise.
 */
async function compareCpu(pool: Pool, { progress, rounds }: BenchContext): Promise<BenchResult> {
  const readCpu = await watchTotalCpu(pool);
  const measured: { ours: number; reference: number }[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    progress.show(`rollup: round ${round} of ${rounds}`);
    const micros = { charge: 0, rollup: 0 };
    for (let run = 0; run < RUNS_A_ROUND; run += 1) {
      const lanes = makeLanes(CLICKS_A_RUN);
      const begun = readCpu();
      await rateOf(pool, lanes, (batch) => charge(pool, batch));
      const charged = readCpu();
      await rollUp(pool);
      micros.charge += charged - begun;
      micros.rollup += readCpu() - charged;
    }
    const rateOfMicros = (total: number) => (RUNS_A_ROUND * CLICKS_A_RUN * 1e6) / total;
    // Round 0 is not counted: it warms up code, connections and caches.
    if (round > 0)
      measured.push({
        ours: rateOfMicros(micros.charge + micros.rollup),
        reference: rateOfMicros(micros.charge),
      });
  }
  return compareRounds('rollup-cpu', 'clicks per CPU s', CPU_BAR, measured, [
    `charging and a run of the rollup every ${CLICKS_A_RUN} clicks, as at ${RATE} clicks/s, against the charging alone; CPU time of Node and ` +
      `PostgreSQL; ${ADVERTISERS} ads, evergreen links`,
  ]);
}

/** The greatest distance between the clock and the time that the rollup is true for, while clicks are charged at a steady rate. */
async function measureLag(pool: Pool, url: string, { progress, logger }: BenchContext): Promise<BenchResult> {
  progress.show('rollup: making clicks');
  const lanes = makeLanes(LAG_SECONDS * RATE);
  // The time in which the clicks were made does not count.
  await rollUp(pool);
  const metrics = createMetrics('processor');
  const loop = runRollupLoop({ config: { ...CONFIG, DATABASE_URL: url }, logger, metrics });
  const charging = new AbortController();
  progress.show(`rollup: ${RATE} clicks/s for ${LAG_SECONDS} s`);
  const lags = watchLag(pool, charging.signal);
  const startedAt = performance.now();
  await Promise.all(lanes.map((lane) => chargeSteadily(pool, lane)));
  const rate = (LAG_SECONDS * RATE) / ((performance.now() - startedAt) / 1_000);
  charging.abort();
  await loop.stop();
  return compareLimit('rollup-lag', 's', 'max', Math.max(...(await lags)), LAG_SECONDS_MAX, [
    `the greatest of a sample every ${SAMPLE_MS} ms at ${rate.toFixed(0)} clicks/s (${RATE} were offered)`,
  ]);
}

/** Charges the batches of a lane, each when its clicks are due. */
async function chargeSteadily(pool: Pool, batches: readonly ReadClick[][]): Promise<void> {
  const startedAt = performance.now();
  let due = 0;
  for (const batch of batches) {
    due += (batch.length / (RATE / LANES)) * 1_000;
    await sleep(Math.max(0, startedAt + due - performance.now()));
    await charge(pool, batch);
  }
}

async function watchLag(pool: Pool, signal: AbortSignal): Promise<number[]> {
  const seconds: number[] = [];
  for (; !signal.aborted; await sleep(SAMPLE_MS, signal)) {
    const { rows } = await pool.query<{ lag: number }>(
      'select extract(epoch from clock_timestamp() - rolled_to)::float8 as lag from click_rollup_state',
    );
    if (rows[0]) seconds.push(rows[0].lag);
  }
  return seconds;
}
