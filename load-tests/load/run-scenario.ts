import type { Stack } from '../../cli/start/stack.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import type { Progress } from '../progress.ts';
import { type LoadReport, reportOf } from '../report/report.ts';
import type { ServiceLevel } from '../report/service-levels.ts';
import { planArrivals } from './arrivals.ts';
import { prepareFaultInjection } from './fault-injection.ts';
import { type LoadResult, runLoad } from './run-load.ts';
import type { Scenario, ScenarioOptions } from './scenarios.ts';

/** Most arrivals of one run: their click ids are kept, 16 bytes each. */
const ARRIVALS_MAX = 50_000_000;
const RATE_MAX = 100_000;
const CONNECTIONS = 2;

export type RunOptions = ScenarioOptions & {
  /** Where the clicks go, if not to the stack's own address. */
  readonly target?: string;
  /** Time for the backlog to drain before a click counts as missing, in ms. */
  readonly waitMs: number;
  readonly levels: readonly ServiceLevel[];
  /** The shell command that restarts the broker in a fault injection. */
  readonly restartBroker?: string;
};

export type RunContext = {
  readonly stack: Stack;
  readonly keys: readonly LinkKey[];
  readonly stopLoad: AbortSignal;
  readonly giveUp: AbortSignal;
  readonly progress: Progress;
};

/**
 * Runs a scenario on a running stack. Resolves to what was seen, and to its verdict. Throws `load_too_large` and what
 * `runLoad` and `prepareFaultInjection` throw.
 */
export async function runScenario(
  scenario: Scenario,
  options: RunOptions,
  context: RunContext,
): Promise<{ report: LoadReport; result: LoadResult }> {
  const phases = scenario.phases(options);
  const arrivals = planArrivals(phases);
  const peak = Math.max(...phases.map(({ toRate }) => toRate));
  if (peak > RATE_MAX || arrivals.total > ARRIVALS_MAX) {
    throw new TollwayError(
      'load_too_large',
      `Expected at most ${RATE_MAX} clicks/s and ${ARRIVALS_MAX} clicks in all, got ${peak}/s and ${arrivals.total}`,
    );
  }
  const { stack, keys, stopLoad, giveUp, progress } = context;
  const before = phases.slice(
    0,
    phases.findIndex(({ name }) => name === 'peak'),
  );
  const peakAt = before.reduce((sum, { ms }) => sum + ms, 0);
  const disturb = scenario.injectsFaults
    ? prepareFaultInjection(stack, {
        processorAtMs: peakAt + options.holdMs / 3,
        brokerAtMs: peakAt + (2 * options.holdMs) / 3,
        ...(options.restartBroker === undefined ? {} : { restartBroker: options.restartBroker }),
      })
    : null;
  const pool = createPool(stack.databaseUrl, 'load test', CONNECTIONS, () => {});
  try {
    progress.say(
      `${scenario.name}: up to ${peak} clicks/s for ${Math.round(arrivals.ms / 1_000)} s on ` +
        `${options.target ?? stack.adServerUrl}, ${counted(arrivals.total, 'arrival')}`,
    );
    const result = await runLoad(pool, stack, keys, {
      arrivals,
      population: scenario.population(options, arrivals.total),
      waitMs: options.waitMs,
      deep: false,
      stopLoad,
      giveUp,
      progress,
      ...(options.target === undefined ? {} : { target: options.target }),
      ...(disturb === null ? {} : { disturb }),
    });
    return { report: reportOf(result, { scenario, levels: options.levels }), result };
  } finally {
    await pool.end();
  }
}
