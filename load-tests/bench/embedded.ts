import { randomBytes } from 'node:crypto';
import { formatLinkKeys, type LinkKey } from '../../common/config/link-keys.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { planArrivals } from '../load/arrivals.ts';
import { runLoad } from '../load/run-load.ts';
import type { Shares } from '../load/traffic.ts';
import { type LoadReport, reportOf } from '../report/report.ts';
import type { Bench } from './bench.ts';
import { ROOT } from './checkout.ts';
import { watchMemory } from './resident-memory.ts';
import { type BenchResult, compareLimit } from './result.ts';
import { startStack } from './stack-process.ts';

const RATE = 5_000;
const RAMP_MS = 3_000;
const ADVERTISERS = 20;
const DRAIN_SECONDS_MAX = 10;
const RESIDENT_MB_MAX = 250;
/** Longest wait for missing clicks, in ms. It is longer than the bar, so that late clicks are still counted. */
const WAIT_MS_MAX = 60_000;
const FRESH_ONLY: Shares = { evergreen: 0, repeat: 0, robot: 0, prefetch: 0, forged: 0, newConnections: 0 };
/** Names of the rows by the entry file of the process. */
const PROCESSES = {
  'ad-server/main.ts': 'embedded-ad-server',
  'processor/main.ts': 'embedded-processor',
} as const;

/**
 * The complete stack of `npm start` under an open-model load of 5 000 clicks/s over HTTP, from the redirect to the ledger. All processes,
 * including the load generator, run on this machine.
 */
export const benchEmbedded: Bench = async (context) => {
  const keys: LinkKey[] = [{ id: 'bench', state: 'signs', secret: randomBytes(32) }];
  const { stack, pid } = await startStack(ROOT, { LINK_KEYS: formatLinkKeys(keys) }, context);
  const pool = createPool(stack.databaseUrl, 'bench', 2, () => {});
  context.resources.add({ name: 'connections', close: () => pool.end() });
  const memory = watchMemory(pid, Object.keys(PROCESSES));
  context.resources.add({ name: 'memory watch', close: () => void memory.stop() });
  const never = new AbortController().signal;
  const result = await runLoad(pool, stack, keys, {
    arrivals: planArrivals([
      { name: 'ramp', ms: RAMP_MS, fromRate: 0, toRate: RATE },
      { name: 'hold', ms: context.embeddedMs, fromRate: RATE, toRate: RATE },
    ]),
    // Only impression links, uniformly distributed: the most expensive clicks.
    population: { advertisers: ADVERTISERS, ads: 2 * ADVERTISERS, skew: 0, seed: 1, shares: FRESH_ONLY },
    waitMs: WAIT_MS_MAX,
    deep: true,
    stopLoad: never,
    giveUp: never,
    progress: context.progress,
  });
  return [
    ...rateRows(
      reportOf(result, { scenario: { name: 'embedded', exhaustsBudgets: false }, levels: [] }),
      context.embeddedMs,
    ),
    ...memoryRows(memory.stop()),
  ];
};

function rateRows(report: LoadReport, embeddedMs: number): BenchResult[] {
  const hold = report.phases.find(({ name }) => name === 'hold');
  const ramped = (RATE / 2) * (RAMP_MS / 1_000);
  // The charged clicks without those of the ramp, divided by the time of the hold.
  const rate = (report.ledger.charged - ramped) / (embeddedMs / 1_000);
  const { p50 = Number.NaN, p99 = Number.NaN, max = Number.NaN } = hold?.latencyMs ?? {};
  const isBalanced =
    report.reconciliation.balanced &&
    report.reconciliation.missing === 0 &&
    report.reconciliation.inFlight === 0;
  const notes = [
    `${embeddedMs / 1_000} s at ${RATE}/s, ${ADVERTISERS} advertisers, impression links; offered ` +
      `${hold?.offeredPerSecond.toFixed(0)}/s; redirects p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, max ${max.toFixed(0)} ms ` +
      `(the generator itself p99 ${hold?.latenessP99Ms.toFixed(1)} ms)`,
    `${report.recorded} recorded, ${report.ledger.found} in the ledger, ${report.ledger.charged} charged; ` +
      `at most ${report.backlogMaxClicks} clicks waited in the broker; books ${isBalanced ? 'balance (deep)' : 'DO NOT BALANCE'}`,
    ...report.reasons.map((reason) => `NOT MET: ${reason}`),
  ];
  const charged = compareLimit('embedded', 'clicks/s', 'min', rate, RATE, notes);
  return [
    // The rate only counts if no click failed or is missing.
    { ...charged, met: charged.met === true && report.verdict === 'passed' && isBalanced },
    compareLimit('embedded-drain', 's', 'max', report.drainSeconds, DRAIN_SECONDS_MAX, [
      'time from the last arrival to the last row of the ledger',
    ]),
  ];
}

function memoryRows(maxBytes: ReadonlyMap<string, number>): BenchResult[] {
  return Object.entries(PROCESSES).flatMap(([entry, name]) => {
    const bytes = maxBytes.get(entry);
    const notes = ['highest resident memory of two samples per second'];
    return bytes === undefined
      ? []
      : compareLimit(`${name}-memory`, 'MB', 'max', bytes / 1e6, RESIDENT_MB_MAX, notes);
  });
}
