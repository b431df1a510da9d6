import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { copyBatch, makeBareLedger } from './bare-copy.ts';
import type { Bench, BenchContext } from './bench.ts';
import { decodeRecords, type LinkKind, makeAdvertisers, makeRecords, splitBatches } from './charge-data.ts';
import { assertBalanced, charge, openDatabase, rateOf, startServer } from './charge-database.ts';
import { measureInterleaved } from './interleaved-rounds.ts';
import { type BenchResult, compareRounds, median } from './result.ts';

/** The benchmark measures the default settings. */
const { BATCH_SIZE, PARALLELIZATION: LANES } = parseConfig({});
const CLICKS_A_ROUND = 120_000;
const ADVERTISERS = 1_000;
const BAR = 0.6;

/** The handler into PostgreSQL against bare binary `COPY`, with 1 000 advertisers in two lanes. */
export const benchCharge1000: Bench = (context) => benchCharge('charge-1000', ADVERTISERS, context);

/** The same with one advertiser, one lane, and one writer of the reference. */
export const benchCharge1: Bench = (context) => benchCharge('charge-1', 1, context);

async function benchCharge(name: string, advertisers: number, context: BenchContext): Promise<BenchResult[]> {
  const pool = await openDatabase(await startServer(context), LANES + 1, context);
  await makeAdvertisers(pool, advertisers);
  await makeBareLedger(pool);
  const results = [
    await compare(name, pool, advertisers, 'evergreen', context),
    await compare(`${name}-impression`, pool, advertisers, 'impression', context),
  ];
  await assertBalanced(name, pool);
  return results;
}

async function compare(
  name: string,
  pool: Pool,
  advertisers: number,
  kind: LinkKind,
  { progress, rounds }: BenchContext,
): Promise<BenchResult> {
  const decodeMicros: number[] = [];
  const measured = await measureInterleaved(['ours', 'reference'], rounds, (round) => {
    progress.show(`${name}: round ${round} of ${rounds}`);
    const records = makeRecords(CLICKS_A_ROUND, advertisers, kind);
    const startedAt = performance.now();
    const clicks = decodeRecords(records);
    decodeMicros.push(((performance.now() - startedAt) * 1_000) / clicks.length);
    const lanes = splitBatches(clicks, LANES, BATCH_SIZE);
    const settle = { ours: charge, reference: copyBatch };
    return (variant) => rateOf(pool, lanes, (batch) => settle[variant](pool, batch));
  });
  const writers = Math.min(LANES, advertisers);
  return compareRounds(name, 'clicks/s', BAR, measured, [
    `${kind} links, ${advertisers} advertiser(s), batches of ${BATCH_SIZE} (the default of BATCH_SIZE), ${writers} writer(s) on each side; ` +
      `the reference only copies the rows of the ledger; decoding is not included and takes ${median(decodeMicros).toFixed(1)} µs per click`,
  ]);
}
