import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { copyBatch, makeBareTables } from './bare-copy.ts';
import type { Bench, BenchContext } from './bench.ts';
import { decodeRecords, type LinkKind, makeAdvertisers, makeRecords, splitBatches } from './charge-data.ts';
import {
  assertBalanced,
  type ChargeCosts,
  charge,
  compareCharges,
  costsOf,
  openDatabase,
  startServer,
} from './charge-database.ts';
import { measureInterleaved } from './interleaved-rounds.ts';
import { type BenchResult, median } from './result.ts';

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

type Variant = 'ours' | 'reference' | 'withoutNonces' | 'plain';
const VARIANTS: Record<LinkKind, readonly Variant[]> = {
  evergreen: ['ours', 'reference', 'plain'],
  impression: ['ours', 'reference', 'withoutNonces', 'plain'],
};

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
  const measured = await measureInterleaved<Variant, ChargeCosts>(VARIANTS[kind], rounds, (round) => {
    progress.show(`${name}: round ${round} of ${rounds}`);
    // The same clicks for ours and the reference; others for the rest, because no table takes a click twice.
    const [lanes, otherLanes] = [makeLanes(), makeLanes()];
    const measure = {
      ours: () => costsOf(pool, lanes, (batch) => charge(pool, batch)),
      reference: () => costsOf(pool, lanes, (batch) => copyBatch(pool, batch, true)),
      withoutNonces: () => costsOf(pool, otherLanes, (batch) => copyBatch(pool, batch, false)),
      plain: () => withoutEvidence(plain, () => costsOf(plain, otherLanes, (batch) => charge(plain, batch))),
    };
    return (variant) => measure[variant]();
  });
  const writers = Math.min(LANES, advertisers);
  const setting = `${kind} links of ${PUBLISHERS} publishers, ${advertisers} advertiser(s), batches of ${BATCH_SIZE} (the default of BATCH_SIZE), ${writers} writer(s) on each side`;
  const decoding = `decoding is not included and takes ${median(decodeMicros).toFixed(1)} µs per click`;
  const evidenceBar = advertisers === ADVERTISERS ? EVIDENCE_BAR : null;
  return resultsOf(name, kind, measured, { setting, decoding, evidenceBar });
}

function resultsOf(
  name: string,
  kind: LinkKind,
  measured: readonly Record<Variant, ChargeCosts>[],
  { setting, decoding, evidenceBar }: { setting: string; decoding: string; evidenceBar: number | null },
): BenchResult[] {
  const against = (suffix: string, bar: number | null, variant: Variant, note: string) => {
    const rounds = measured.map((costs) => ({ ours: costs.ours, reference: costs[variant] }));
    return compareCharges(`${name}${suffix}`, bar, rounds, `${setting}; ${note}`);
  };
  const sameRows = `the reference only copies the same rows, those of ledger, spent nonces and evidence; ${decoding}`;
  const fewerRows = 'the reference copies the rows of ledger and evidence only, so it keeps no nonce unique';
  return [
    against('', BAR, 'reference', sameRows),
    ...(kind === 'impression' ? [against('-without-nonces', null, 'withoutNonces', fewerRows)] : []),
    against(
      ...(['-evidence', evidenceBar, 'plain'] as const),
      'charging with evidence against charging with EVIDENCE_RETENTION_DAYS=0',
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
