import { createBacklogs } from '../../brokers/create-event-sources.ts';
import type { Stack } from '../../cli/start/stack.ts';
import { parseConfig } from '../../common/config/config.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { type Reconciliation, reconcile } from '../../ledger/reconcile.ts';
import type { Progress } from '../progress.ts';
import type { Arrivals } from './arrivals.ts';
import { ClickIds } from './click-ids.ts';
import type { Disturbance, FaultInjection } from './fault-injection.ts';
import { type HttpTarget, openHttpTarget } from './http-target.ts';
import { checkLedger, type LedgerCheck, readClock } from './ledger-check.ts';
import { createLoad, type Load, offerLoad, type PhaseCounts } from './offer-load.ts';
import { makePopulation, type Population, type PopulationOptions, waitUntilKnown } from './population.ts';
import { createObserver } from './system-metrics.ts';
import { type Moment, type Timeline, watchTimeline } from './timeline.ts';

export type LoadOptions = {
  readonly arrivals: Arrivals;
  readonly population: Omit<PopulationOptions, 'budgetClicks'> & { readonly budgetClicks?: number };
  /** Where the clicks go, if not to the stack's own address. */
  readonly target?: string;
  /** How long to wait for clicks that are not yet in the ledger, in ms. */
  readonly waitMs: number;
  /** Whether the ledger is recounted row by row. */
  readonly deep: boolean;
  /** Ends the arrivals; what was measured until then is looked up all the same. */
  readonly stopLoad: AbortSignal;
  /** Ends the waiting for the ledger too. */
  readonly giveUp: AbortSignal;
  readonly progress: Progress;
  /** Done to the stack while the load runs; begins with it. */
  readonly disturb?: FaultInjection;
};

/** All that was seen of one load on a running stack. */
export type LoadResult = {
  readonly startedAt: Date;
  readonly target: string;
  readonly arrivals: Arrivals;
  readonly load: Load;
  readonly interrupted: boolean;
  readonly ledger: LedgerCheck;
  readonly reconciliation: Reconciliation;
  readonly timeline: Timeline;
  readonly disturbances: readonly Disturbance[];
  readonly population: Population;
};

/**
 * Offers a load to a running stack and follows every click of it into the ledger.
 * Throws `target_unreachable`, `keys_differ`, `ads_unknown`, and what `pg` throws.
 */
export async function runLoad(
  pool: Pool,
  stack: Stack,
  keys: readonly LinkKey[],
  options: LoadOptions,
): Promise<LoadResult> {
  const { arrivals, progress } = options;
  const url = options.target ?? stack.adServerUrl;
  const perSecond = Math.max(...arrivals.phases.flatMap(({ fromRate, toRate }) => [fromRate, toRate]));
  const target = await openHttpTarget(url, perSecond);
  try {
    progress.say('Making advertisers, ads and links');
    const population = await makePopulation(pool, keys, {
      budgetClicks: arrivals.total,
      ...options.population,
    });
    try {
      await waitUntilKnown(target, population, url, options.stopLoad);
      return await followLoad({ pool, stack, target, url, population }, options);
    } finally {
      await population.retire();
    }
  } finally {
    progress.end();
    await target.close();
  }
}

type Place = {
  readonly pool: Pool;
  readonly stack: Stack;
  readonly target: HttpTarget;
  readonly url: string;
  readonly population: Population;
};

async function followLoad(
  { pool, stack, target, url, population }: Place,
  { arrivals, stopLoad, giveUp, progress, waitMs, deep, disturb }: LoadOptions,
): Promise<LoadResult> {
  const recorded = { toAdvertiser: new ClickIds(arrivals.total), toFallback: new ClickIds(arrivals.total) };
  const load = createLoad(arrivals);
  const startedAt = await readClock(pool);
  const observer = createObserver(stack, population.advertiserIds);
  const timeline = watchTimeline({ load, arrivals }, observer, showMoment(progress, load));
  try {
    const { nextArrival } = population;
    const [disturbances] = await Promise.all([
      disturb?.(stopLoad) ?? [],
      offerLoad(load, arrivals, { target, nextArrival, recorded, stop: stopLoad }),
    ]);
    // The database's clock at the end of the arrivals, however long the last answers took since.
    const endedAt = new Date((await readClock(pool)).getTime() - (performance.now() - load.endedAt));
    const ledger = await checkLedger(pool, recorded, {
      advertiserIds: population.advertiserIds,
      startedAt,
      endedAt,
      waitMs,
      stop: giveUp,
      onProgress: (found) =>
        progress.show(
          `Looking up clicks in the ledger: ${found} of ${recorded.toAdvertiser.size + recorded.toFallback.size}`,
        ),
    });
    progress.show('Asking the books');
    const config = parseConfig(stack.settings);
    const brokers = await createBacklogs(
      config,
      createLogger('backlog', { LOG_LEVEL: 'silent', LOG_FORMAT: 'json' }),
    );
    const reconciliation = await reconcile(pool, { deep, brokers });
    return {
      startedAt,
      target: url,
      arrivals,
      load,
      interrupted: stopLoad.aborted,
      ledger,
      reconciliation,
      timeline,
      disturbances,
      population,
    };
  } finally {
    timeline.stop();
  }
}

/** Shows how the load goes. */
function showMoment(progress: Progress, load: Load) {
  return ({ phase, begunPerSecond, answeredPerSecond, underWay, latencyMs, system }: Moment) => {
    if (phase === null) return;
    const sum = (pick: (counts: PhaseCounts) => number) =>
      load.phases.reduce((total, counts) => total + pick(counts), 0);
    const waiting = system.brokerClicks === null ? '' : `, in the broker ${system.brokerClicks}`;
    progress.show(
      `${phase}: offered ${Math.round(begunPerSecond)}/s, answered ${Math.round(answeredPerSecond)}/s, ` +
        `under way ${underWay}, p99 ${latencyMs === null ? '–' : latencyMs.p99.toFixed(1)} ms, ` +
        `failed ${sum((counts) => counts.failed)}, shed ${sum((counts) => counts.shed)}${waiting}`,
    );
  };
}
