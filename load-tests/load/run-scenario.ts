import type { Stack } from '../../cli/start/stack.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import { type LoadReport, reportOf } from '../report/report.ts';
import type { ServiceLevel } from '../report/service-levels.ts';
import { type Phase, planArrivals } from './arrivals.ts';
import { type FaultInjection, prepareFaultInjection } from './fault-injection.ts';
import { type LoadResult, runLoad } from './run-load.ts';
import type { Scenario, ScenarioOptions } from './scenarios.ts';

/** Limit of arrivals per run. The run keeps their click ids in memory, 16 bytes each. */
const ARRIVALS_MAX = 50_000_000;
const RATE_MAX = 100_000;
/** Connections to the database: of the run's lock, of the samples, and of the checks. */
const CONNECTIONS = 3;

export type RunOptions = ScenarioOptions & {
  /** URL of the ad server to load; default: that of the stack. */
  readonly target?: string;
  /** Longest wait for the backlog to drain, in ms. Clicks that are not in the ledger by then are missing. */
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
  readonly progress: ProgressDisplay;
};

/**
 * Runs a scenario on a running stack. Resolves to the measurements and the report with the verdict. Throws `load_too_large`, and the errors
 * of `runLoad` and `prepareFaultInjection`.
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
  const injectFaults = scenario.injectsFaults ? prepareFaults(stack, phases, options) : null;
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
      ...(injectFaults === null ? {} : { injectFaults }),
    });
    return { report: reportOf(result, { scenario, levels: options.levels }), result };
  } finally {
    await pool.end();
  }
}

/** Kills the processor after a third of the peak, and restarts the broker after two thirds. */
function prepareFaults(
  stack: Stack,
  phases: readonly Phase[],
  { holdMs, restartBroker }: RunOptions,
): FaultInjection {
  const peak = phases.findIndex(({ name }) => name === 'peak');
  const peakAtMs = phases.slice(0, peak).reduce((sum, { ms }) => sum + ms, 0);
  return prepareFaultInjection(stack, {
    processorAtMs: peakAtMs + holdMs / 3,
    brokerAtMs: peakAtMs + (2 * holdMs) / 3,
    ...(restartBroker === undefined ? {} : { restartBroker }),
  });
}
