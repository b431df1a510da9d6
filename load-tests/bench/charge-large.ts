import { parseConfig } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import type { Bench, BenchContext } from './bench.ts';
import { decodeRecords, makeAdvertisers, makeRecords, splitBatches } from './charge-data.ts';
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
import { CLICKS, FILLERS, fillLedger } from './large-ledger.ts';
import type { BenchResult } from './result.ts';

const { BATCH_SIZE, PARALLELIZATION: LANES } = parseConfig({});
/** Large enough that the full-page writes after the checkpoint before each measurement are a small part of the WAL. */
const CLICKS_A_ROUND = 240_000;
const ADVERTISERS = 1_000;
const BAR = 0.9;
const IMPRESSION_BAR = 0.85;
const NONCE_DAYS = 30;
const SETTING = `1 000 advertisers, batches of ${BATCH_SIZE}, ${LANES} writers`;

type Pools = { readonly empty: Pool; readonly large: Pool };

/**
 * Charging into a ledger of 20 million rows in 400 days, with links that were made over 30 days, against an empty ledger with new links on the
 * same server.
 */
export const benchChargeLarge: Bench = async (context) => {
  const pools = await openPools(context);
  context.progress.say(`charge-large: filling a ledger with ${CLICKS} clicks`);
  const startedAt = performance.now();
  await fillLedger(pools.large, ADVERTISERS, context.progress.show);
  const fillSeconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
  const results = [
    await compareEvergreen(pools, `filled in ${fillSeconds} s`, context),
    ...(await compareImpressions(pools, context)),
  ];
  context.progress.say('charge-large: reconciling');
  await assertBalanced('charge-large', pools.empty);
  await assertBalanced('charge-large', pools.large);
  return results;
};

async function openPools(context: BenchContext): Promise<Pools> {
  const url = await startServer(context);
  const empty = await openDatabase(url, LANES + 1, context);
  await empty.query('create database large');
  const largeUrl = new URL(url);
  largeUrl.pathname = '/large';
  const large = await openDatabase(largeUrl.href, Math.max(LANES, FILLERS) + 1, context);
  await makeAdvertisers(empty, ADVERTISERS);
  await makeAdvertisers(large, ADVERTISERS);
  return { empty, large };
}

async function compareEvergreen(
  pools: Pools,
  filled: string,
  { progress, rounds }: BenchContext,
): Promise<BenchResult> {
  const measured = await measureInterleaved<keyof Pools, ChargeCosts>(['large', 'empty'], rounds, (round) => {
    progress.show(`charge-large: round ${round} of ${rounds}`);
    const records = makeRecords(CLICKS_A_ROUND, ADVERTISERS, 'evergreen');
    const lanes = splitBatches(decodeRecords(records), LANES, BATCH_SIZE);
    return (variant) => costsOf(pools[variant], lanes, (batch) => charge(pools[variant], batch));
  });
  return compareCharges(
    'charge-large',
    BAR,
    measured.map(({ large, empty }) => ({ ours: large, reference: empty })),
    `${CLICKS} clicks in 400 partitions, ${filled}, against an empty ledger; evergreen links; ${SETTING}`,
  );
}

type Variant = 'large' | 'emptyOld' | 'empty';
const VARIANTS: readonly Variant[] = ['large', 'emptyOld', 'empty'];

async function compareImpressions(pools: Pools, { progress, rounds }: BenchContext): Promise<BenchResult[]> {
  const measured = await measureInterleaved<Variant, ChargeCosts>(VARIANTS, rounds, (round) => {
    progress.show(`charge-large-impression: round ${round} of ${rounds}`);
    const lanesOf = (nonceMs: number) => {
      const records = makeRecords(CLICKS_A_ROUND, ADVERTISERS, 'impression', { nonceMs });
      return splitBatches(decodeRecords(records), LANES, BATCH_SIZE);
    };
    const [old, fresh] = [lanesOf(NONCE_DAYS * DAY_MS), lanesOf(0)];
    return (variant) => {
      const pool = variant === 'large' ? pools.large : pools.empty;
      return costsOf(pool, variant === 'empty' ? fresh : old, (batch) => charge(pool, batch));
    };
  });
  const nonces = `nonces of ${NONCE_DAYS} days`;
  return [
    compareCharges(
      'charge-large-impression',
      IMPRESSION_BAR,
      measured.map(({ large, empty }) => ({ ours: large, reference: empty })),
      `the same with impression links, ${nonces}, against an empty ledger with new nonces; ${SETTING}`,
    ),
    compareCharges(
      'charge-nonce-days',
      null,
      measured.map(({ emptyOld, empty }) => ({ ours: emptyOld, reference: empty })),
      `the effect of the nonces alone: an empty ledger on both sides, ${nonces} against new nonces`,
    ),
  ];
}
