import { startEmbeddedPostgres } from '../../cli/embedded-postgres.ts';
import { parseConfig } from '../../common/config.ts';
import { createPool, type Pool } from '../../common/postgres.ts';
import { migrate } from '../../migrations/migrate.ts';
import { chargeClicks } from '../../processor/charge-clicks.ts';
import { reconcile } from '../../processor/reconcile.ts';
import type { ReadClick } from '../../producer/click-event.ts';
import { copyBatch, makeBareLedger } from './bare-copy.ts';
import type { Bench, BenchSurroundings } from './bench.ts';
import { dealBatches, decodeRecords, type LinkKind, makeAdvertisers, makeRecords } from './charge-data.ts';
import { type BenchResult, compareRounds, median } from './result.ts';

/** What is measured are the defaults. */
const { BATCH_SIZE, PARALLELIZATION: LANES } = parseConfig({});
const CLICKS_A_ROUND = 60_000;
const ADVERTISERS = 1_000;
const BAR = 0.45;
const RETENTION = { clickAgeDays: 14, linkLifeDays: 90 };

/** The handler into PostgreSQL against bare binary `COPY`, with 1 000 advertisers in two lanes. */
export const benchCharge1000: Bench = (around) => benchCharge('charge-1000', ADVERTISERS, around);

/** The same with one advertiser: one lane, and one writer of the reference. */
export const benchCharge1: Bench = (around) => benchCharge('charge-1', 1, around);

async function benchCharge(
  name: string,
  advertisers: number,
  around: BenchSurroundings,
): Promise<BenchResult[]> {
  const pool = await openDatabase(around);
  await makeAdvertisers(pool, advertisers);
  await makeBareLedger(pool);
  const results = [
    await compare(name, BAR, pool, advertisers, 'evergreen', around),
    await compare(`${name}-impression`, null, pool, advertisers, 'impression', around),
  ];
  const { balanced, missing, problems } = await reconcile(pool, { deep: true });
  if (!balanced || missing > 0)
    throw new Error(`${name}: the books do not balance: ${missing} missing; ${problems.join('; ')}`);
  return results;
}

async function openDatabase({ belongings, logger }: BenchSurroundings): Promise<Pool> {
  const postgres = await startEmbeddedPostgres(belongings.folder(), logger);
  belongings.add({ name: 'PostgreSQL', close: () => postgres.stop() });
  await migrate(postgres.url, RETENTION, logger);
  const pool = createPool(postgres.url, 'bench', LANES + 1, () => {});
  belongings.add({ name: 'connections', close: () => pool.end() });
  return pool;
}

async function compare(
  name: string,
  bar: number | null,
  pool: Pool,
  advertisers: number,
  kind: LinkKind,
  { progress, rounds }: BenchSurroundings,
): Promise<BenchResult> {
  const measured: { ours: number; reference: number }[] = [];
  const decodeMicros: number[] = [];
  // One round more than counts: the first warms up code, connections and caches.
  for (let round = 0; round <= rounds; round += 1) {
    progress.show(`${name}: round ${round} of ${rounds}`);
    const records = makeRecords(CLICKS_A_ROUND, advertisers, kind);
    const startedAt = performance.now();
    const clicks = decodeRecords(records);
    decodeMicros.push(((performance.now() - startedAt) * 1_000) / clicks.length);
    const lanes = dealBatches(clicks, LANES, BATCH_SIZE);
    const ways = {
      ours: () => rateOf(pool, lanes, (batch) => charge(pool, batch)),
      reference: () => rateOf(pool, lanes, (batch) => copyBatch(pool, batch)),
    };
    const [first, second] =
      round % 2 === 0 ? (['ours', 'reference'] as const) : (['reference', 'ours'] as const);
    const rates = { ours: 0, reference: 0 };
    rates[first] = await ways[first]();
    rates[second] = await ways[second]();
    if (round > 0) measured.push(rates);
  }
  const writers = Math.min(LANES, advertisers);
  return compareRounds(name, 'clicks/s', bar, measured, [
    `${kind} links, ${advertisers} advertiser(s), batches of ${BATCH_SIZE} (the default of BATCH_SIZE), ${writers} writer(s) on each side; ` +
      `the reference copies the ledger's rows alone; decoding, not counted, takes ${median(decodeMicros).toFixed(1)} µs a click`,
  ]);
}

async function charge(pool: Pool, batch: readonly ReadClick[]): Promise<void> {
  const { outcomes } = await chargeClicks(pool, batch, { clickAgeMaxDays: RETENTION.clickAgeDays });
  const wrong = outcomes.find(({ outcome }) => outcome !== 'charged');
  if (wrong)
    throw new Error(`Expected clicks that are charged, got one that is ${wrong.outcome}: ${wrong.reason}`);
}

/** Clicks a second of all lanes at once, each with one batch at a time. */
async function rateOf(
  pool: Pool,
  lanes: readonly (readonly ReadClick[][])[],
  settle: (batch: readonly ReadClick[]) => Promise<void>,
): Promise<number> {
  // Both ways begin with no page of the last one's left to write.
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
