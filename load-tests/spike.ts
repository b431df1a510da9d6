import type { Stack } from '../cli/stack.ts';
import { TollwayError } from '../common/errors.ts';
import type { LinkKey } from '../common/link-keys.ts';
import { createPool } from '../common/postgres.ts';
import { planArrivals } from './arrivals.ts';
import type { Progress } from './progress.ts';
import { reportOf, type SpikeReport } from './report.ts';
import { runLoad } from './run-load.ts';

/** Time at the base rate before the ramp and after the hold, in ms. */
const BASE_MS = 5_000;
const ADVERTISERS = 5;
/** Most arrivals of one run: their click ids are kept, 16 bytes each. */
const ARRIVALS_MAX = 5_000_000;
const RATE_MAX = 100_000;
const CONNECTIONS = 2;

export type SpikeOptions = {
  /** Arrivals a second before and after, and how many times that at the peak. */
  readonly base: number;
  readonly factor: number;
  readonly rampMs: number;
  readonly holdMs: number;
  /** Time for the backlog to drain before a click counts as missing. */
  readonly waitMs: number;
};

export type SpikeSurroundings = {
  readonly stack: Stack;
  readonly keys: readonly LinkKey[];
  readonly stopLoad: AbortSignal;
  readonly giveUp: AbortSignal;
  readonly progress: Progress;
};

/**
 * A spike: the base rate, a ramp to `factor` times as much, a hold there, and the base rate again. Resolves to what was
 * seen, with its verdict. Throws `spike_too_large` and what `runLoad` throws.
 */
export async function runSpike(options: SpikeOptions, around: SpikeSurroundings): Promise<SpikeReport> {
  const { base, factor, rampMs, holdMs, waitMs } = options;
  const peak = base * factor;
  const arrivals = planArrivals([
    { name: 'base', ms: BASE_MS, fromRate: base, toRate: base },
    { name: 'ramp', ms: rampMs, fromRate: base, toRate: peak },
    { name: 'peak', ms: holdMs, fromRate: peak, toRate: peak },
    { name: 'after', ms: BASE_MS, fromRate: base, toRate: base },
  ]);
  if (peak > RATE_MAX || arrivals.total > ARRIVALS_MAX) {
    throw new TollwayError(
      'spike_too_large',
      `Expected at most ${RATE_MAX} clicks/s and ${ARRIVALS_MAX} clicks in all, got ${peak}/s and ${arrivals.total}`,
    );
  }
  const { stack, keys, stopLoad, giveUp, progress } = around;
  const pool = createPool(stack.databaseUrl, 'load test', CONNECTIONS, () => {});
  try {
    progress.say(
      `${base} → ${peak} clicks/s within ${rampMs / 1_000} s, held ${holdMs / 1_000} s, on ${stack.adServerUrl}: ` +
        `${arrivals.total} clicks`,
    );
    const result = await runLoad(pool, stack, keys, {
      arrivals,
      advertisers: ADVERTISERS,
      waitMs,
      deep: false,
      stopLoad,
      giveUp,
      progress,
    });
    return reportOf(result);
  } finally {
    await pool.end();
  }
}
