import { createBacklogs } from '../../brokers/create-event-sources.ts';
import type { Stack } from '../../cli/start/stack.ts';
import { parseConfig } from '../../common/config/config.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import { errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { beginTestRun, readRemaining } from '../../ledger/accounts/test-advertisers.ts';
import { type Reconciliation, reconcile } from '../../ledger/reconciliation/reconcile.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import type { Arrivals } from './arrivals.ts';
import { ClickIds } from './click-ids.ts';
import type { FaultInjection, InjectedFault } from './fault-injection.ts';
import { type HttpTarget, openHttpTarget } from './http-target.ts';
import { checkLedger, type LedgerCheck, readClock } from './ledger-check.ts';
import { createLoad, type Load, offerLoad, type PhaseCounts } from './offer-load.ts';
import { makePopulation, type Population, type PopulationOptions, waitForAds } from './population.ts';
import { createSystemSampler } from './system-metrics.ts';
import { recordTimeline, type Sample, type Timeline } from './timeline.ts';

export type LoadOptions = {
  readonly arrivals: Arrivals;
  readonly population: Omit<PopulationOptions, 'budgetClicks'> & { readonly budgetClicks?: number };
  /** URL of the ad server to load; default: that of the stack. */
  readonly target?: string;
  /** Longest wait for clicks that are not yet in the ledger, in ms. */
  readonly waitMs: number;
  /** Whether the reconciliation recounts the ledger row by row. */
  readonly deep: boolean;
  /** Ends the arrivals. The recorded clicks are still looked up in the ledger. */
  readonly stopLoad: AbortSignal;
  /** Ends the wait for missing clicks too. */
  readonly giveUp: AbortSignal;
  readonly progress: ProgressDisplay;
  /** Starts with the load. */
  readonly injectFaults?: FaultInjection;
};

/** The measurements of one load on a running stack. */
export type LoadResult = {
  readonly startedAt: Date;
  readonly target: string;
  readonly arrivals: Arrivals;
  readonly load: Load;
  readonly interrupted: boolean;
  readonly ledger: LedgerCheck;
  readonly reconciliation: Reconciliation;
  readonly timeline: Timeline;
  readonly faults: readonly InjectedFault[];
  readonly population: Population;
};

/**
 * Offers a load to a running stack and looks up every recorded click in the ledger.
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
    return await withTestAdvertisers(pool, progress, async (onAdvertiser) => {
      progress.say('Creating advertisers, ads and links');
      const population = await makePopulation(pool, keys, onAdvertiser, {
        budgetClicks: arrivals.total,
        ...options.population,
      });
      await waitForAds(target, population, url, options.stopLoad);
      return measureLoad({ pool, stack, target, url, population }, options);
    });
  } finally {
    progress.end();
    await target.close();
  }
}

/** Runs `work`, then archives the advertisers that it passes to `onAdvertiser`, also if it fails. */
async function withTestAdvertisers<T>(
  pool: Pool,
  progress: ProgressDisplay,
  work: (onAdvertiser: (id: number) => void) => Promise<T>,
): Promise<T> {
  const run = await beginTestRun(pool);
  const advertiserIds: number[] = [];
  try {
    return await work((id) => advertiserIds.push(id));
  } finally {
    await run.archive(advertiserIds).catch((error: unknown) => {
      progress.say(
        `The advertisers of this load test are not archived (${errorMessage(error)}). The next load test archives them`,
      );
    });
    run.end();
  }
}

type PreparedLoad = {
  readonly pool: Pool;
  readonly stack: Stack;
  readonly target: HttpTarget;
  readonly url: string;
  readonly population: Population;
};

async function measureLoad(
  { pool, stack, target, url, population }: PreparedLoad,
  { arrivals, stopLoad, giveUp, progress, waitMs, deep, injectFaults }: LoadOptions,
): Promise<LoadResult> {
  const recorded = { toAdvertiser: new ClickIds(arrivals.total), toFallback: new ClickIds(arrivals.total) };
  const load = createLoad(arrivals);
  const startedAt = await readClock(pool);
  const sampler = createSystemSampler(stack, () => readRemaining(pool, population.advertiserIds));
  const timeline = recordTimeline({ load, arrivals }, sampler, showSample(progress, load));
  try {
    const { nextArrival } = population;
    const [faults] = await Promise.all([
      injectFaults?.(stopLoad) ?? [],
      offerLoad(load, arrivals, { target, nextArrival, recorded, stop: stopLoad }),
    ]);
    // The database time when the arrivals ended: the last answers have taken some time since.
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
    progress.show('Reconciling');
    const logger = createLogger('backlog', { LOG_LEVEL: 'silent', LOG_FORMAT: 'json' });
    const brokers = await createBacklogs(parseConfig(stack.settings), logger);
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
      faults,
      population,
    };
  } finally {
    timeline.stop();
  }
}

/** Shows the progress of a load after each sample. */
function showSample(progress: ProgressDisplay, load: Load) {
  return ({ phase, begunPerSecond, answeredPerSecond, underWay, latencyMs, system }: Sample) => {
    if (phase === null) return;
    const sum = (pick: (counts: PhaseCounts) => number) =>
      load.phases.reduce((total, counts) => total + pick(counts), 0);
    const inBroker = system.brokerClicks === null ? '' : `, in the broker ${system.brokerClicks}`;
    progress.show(
      `${phase}: offered ${Math.round(begunPerSecond)}/s, answered ${Math.round(answeredPerSecond)}/s, ` +
        `under way ${underWay}, p99 ${latencyMs === null ? '–' : latencyMs.p99.toFixed(1)} ms, ` +
        `failed ${sum((counts) => counts.failed)}, shed ${sum((counts) => counts.shed)}${inBroker}`,
    );
  };
}
