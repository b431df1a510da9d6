import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { copyBatch, makeBareLedger } from './bare-copy.ts';
import type { Bench, BenchSurroundings } from './bench.ts';
import { dealBatches, decodeRecords, type LinkKind, makeAdvertisers, makeRecords } from './charge-data.ts';
import { assertBooks, charge, openDatabase, rateOf, startServer } from './charge-database.ts';
import { measureByTurns } from './interleaved-rounds.ts';
import { type BenchResult, compareRounds, median } from './result.ts';

/** What is measured are the defaults. */
const { BATCH_SIZE, PARALLELIZATION: LANES } = parseConfig({});
const CLICKS_A_ROUND = 120_000;
const ADVERTISERS = 1_000;
const BAR = 0.6;

/** The handler into PostgreSQL against bare binary `COPY`, with 1 000 advertisers in two lanes. */
export const benchCharge1000: Bench = (around) => benchCharge('charge-1000', ADVERTISERS, around);

/** The same with one advertiser: one lane, and one writer of the reference. */
export const benchCharge1: Bench = (around) => benchCharge('charge-1', 1, around);

async function benchCharge(
  name: string,
  advertisers: number,
  around: BenchSurroundings,
): Promise<BenchResult[]> {
  const pool = await openDatabase(await startServer(around), LANES + 1, around);
  await makeAdvertisers(pool, advertisers);
  await makeBareLedger(pool);
  const results = [
    await compare(name, pool, advertisers, 'evergreen', around),
    await compare(`${name}-impression`, pool, advertisers, 'impression', around),
  ];
  await assertBooks(name, pool);
  return results;
}

async function compare(
  name: string,
  pool: Pool,
  advertisers: number,
  kind: LinkKind,
  { progress, rounds }: BenchSurroundings,
): Promise<BenchResult> {
  const decodeMicros: number[] = [];
  const measured = await measureByTurns(['ours', 'reference'], rounds, (round) => {
    progress.show(`${name}: round ${round} of ${rounds}`);
    const records = makeRecords(CLICKS_A_ROUND, advertisers, kind);
    const startedAt = performance.now();
    const clicks = decodeRecords(records);
    decodeMicros.push(((performance.now() - startedAt) * 1_000) / clicks.length);
    const lanes = dealBatches(clicks, LANES, BATCH_SIZE);
    const settle = { ours: charge, reference: copyBatch };
    return (way) => rateOf(pool, lanes, (batch) => settle[way](pool, batch));
  });
  const writers = Math.min(LANES, advertisers);
  return compareRounds(name, 'clicks/s', BAR, measured, [
    `${kind} links, ${advertisers} advertiser(s), batches of ${BATCH_SIZE} (the default of BATCH_SIZE), ${writers} writer(s) on each side; ` +
      `the reference copies the ledger's rows alone; decoding, not counted, takes ${median(decodeMicros).toFixed(1)} µs a click`,
  ]);
}
