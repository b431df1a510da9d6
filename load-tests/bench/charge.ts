import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { copyBatch, makeBareTables } from './bare-copy.ts';
import type { Bench, BenchContext } from './bench.ts';
import { decodeRecords, type LinkKind, makeAdvertisers, makeRecords, splitBatches } from './charge-data.ts';
import { assertBalanced, charge, openDatabase, rateOf, startServer } from './charge-database.ts';
import { measureInterleaved } from './interleaved-rounds.ts';
import { type BenchResult, compareRounds, median } from './result.ts';

/** The benchmark measures the default settings. */
const { BATCH_SIZE, PARALLELIZATION: LANES } = parseConfig({});
const CLICKS_A_ROUND = 120_000;
const ADVERTISERS = 1_000;
const PUBLISHERS = 20;
const BAR = 0.6;
/** Charging 1 000 advertisers with evidence against charging without it. */
const EVIDENCE_BAR = 0.85;

/** The handler into PostgreSQL against bare binary `COPY`, with 1 000 advertisers in two lanes. */
export const benchCharge1000: Bench = (context) => benchCharge('charge-1000', ADVERTISERS, context);

/** The same with one advertiser, one lane, and one writer of the reference. */
export const benchCharge1: Bench = (context) => benchCharge('charge-1', 1, context);

/** `plain`: a pool that is used while no evidence is kept. Each pool remembers whether evidence is kept. */
type Pools = { readonly pool: Pool; readonly plain: Pool };

async function benchCharge(name: string, advertisers: number, context: BenchContext): Promise<BenchResult[]> {
  const url = await startServer(context);
  const pools = {
    pool: await openDatabase(url, LANES + 1, context),
    plain: await openDatabase(url, LANES + 1, context),
  };
  await makeAdvertisers(pools.pool, advertisers);
  await makeBareTables(pools.pool);
  const results = [
    ...(await compare(name, pools, advertisers, 'evergreen', context)),
    ...(await compare(`${name}-impression`, pools, advertisers, 'impression', context)),
  ];
  await assertBalanced(name, pools.pool);
  return results;
}

async function compare(
  name: string,
  { pool, plain }: Pools,
  advertisers: number,
  kind: LinkKind,
  { progress, rounds }: BenchContext,
): Promise<BenchResult[]> {
  const decodeMicros: number[] = [];
  const makeLanes = () => {
    const records = makeRecords(CLICKS_A_ROUND, advertisers, kind, { publishers: PUBLISHERS });
    const startedAt = performance.now();
    const clicks = decodeRecords(records);
    decodeMicros.push(((performance.now() - startedAt) * 1_000) / clicks.length);
    return splitBatches(clicks, LANES, BATCH_SIZE);
  };
  const measured = await measureInterleaved(['ours', 'reference', 'plain'], rounds, (round) => {
    progress.show(`${name}: round ${round} of ${rounds}`);
    // The same clicks for both; others without evidence, because clicks in the ledger are not charged again.
    const [lanes, plainLanes] = [makeLanes(), makeLanes()];
    const measure = {
      ours: () => rateOf(pool, lanes, (batch) => charge(pool, batch)),
      reference: () => rateOf(pool, lanes, (batch) => copyBatch(pool, batch)),
      plain: () => withoutEvidence(plain, () => rateOf(plain, plainLanes, (batch) => charge(plain, batch))),
    };
    return (variant) => measure[variant]();
  });
  const writers = Math.min(LANES, advertisers);
  const setting = `${kind} links of ${PUBLISHERS} publishers, ${advertisers} advertiser(s), batches of ${BATCH_SIZE} (the default of BATCH_SIZE), ${writers} writer(s) on each side`;
  return [
    compareRounds(name, 'clicks/s', BAR, measured, [
      `${setting}; the reference only copies the rows of the ledger and of its evidence; ` +
        `decoding is not included and takes ${median(decodeMicros).toFixed(1)} µs per click`,
    ]),
    compareRounds(
      `${name}-evidence`,
      'clicks/s',
      advertisers === ADVERTISERS ? EVIDENCE_BAR : null,
      measured.map(({ ours, plain: reference }) => ({ ours, reference })),
      [`${setting}; charging with evidence against charging with EVIDENCE_RETENTION_DAYS=0`],
    ),
  ];
}

/** Runs `work` while the database keeps no evidence, as with `EVIDENCE_RETENTION_DAYS=0`. */
async function withoutEvidence<T>(pool: Pool, work: () => Promise<T>): Promise<T> {
  const { rows } = await pool.query<{ floor: Date }>('select evidence_floor as floor from ledger_window');
  await pool.query('update ledger_window set evidence_floor = null');
  try {
    return await work();
  } finally {
    await pool.query('update ledger_window set evidence_floor = $1', [rows[0]?.floor]);
  }
}
