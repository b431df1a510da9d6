import type { Stack } from '../cli/stack.ts';
import { parseConfig } from '../common/config.ts';
import type { LinkKey } from '../common/link-keys.ts';
import { createLogger } from '../common/logger.ts';
import type { Pool } from '../common/postgres.ts';
import { createBooks } from '../processor/create-sources.ts';
import { type Reconciliation, reconcile } from '../processor/reconcile.ts';
import type { Arrivals } from './arrivals.ts';
import { type Backlog, readBacklog } from './backlog.ts';
import { ClickIds } from './click-ids.ts';
import { createHttpTarget, type HttpTarget } from './http-target.ts';
import { checkLedger, type LedgerCheck, readClock } from './ledger-check.ts';
import { createLoad, type Load, offerLoad } from './offer-load.ts';
import { assertReachable, makePopulation, type Population, waitUntilKnown } from './population.ts';
import type { Progress } from './progress.ts';

const LOOK_MS = 1_000;

export type LoadOptions = {
  readonly arrivals: Arrivals;
  readonly advertisers: number;
  /** How long to wait for clicks that are not yet in the ledger, in ms. */
  readonly waitMs: number;
  /** Whether the ledger is recounted row by row. */
  readonly deep: boolean;
  /** Ends the arrivals; what was measured until then is looked up all the same. */
  readonly stopLoad: AbortSignal;
  /** Ends the waiting for the ledger too. */
  readonly giveUp: AbortSignal;
  readonly progress: Progress;
};

/** All that was seen of one load on a running stack. */
export type LoadResult = {
  readonly arrivals: Arrivals;
  readonly load: Load;
  readonly interrupted: boolean;
  readonly ledger: LedgerCheck;
  readonly books: Reconciliation;
  /** The most that was seen waiting, looking once a second. */
  readonly backlogMax: Backlog;
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
  const target = createHttpTarget(stack.adServerUrl);
  try {
    await assertReachable(target, stack.adServerUrl);
    progress.say('Making advertisers, ads and links');
    const population = await makePopulation(pool, keys, {
      advertisers: options.advertisers,
      clicksMax: arrivals.total,
    });
    try {
      await waitUntilKnown(target, population, stack.adServerUrl, options.stopLoad);
      return await followLoad({ pool, stack, target, population }, options);
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
  readonly population: Population;
};

async function followLoad(
  { pool, stack, target, population }: Place,
  { arrivals, stopLoad, giveUp, progress, waitMs, deep }: LoadOptions,
): Promise<LoadResult> {
  const recorded = new ClickIds(arrivals.total);
  const load = createLoad(arrivals);
  const startedAt = await readClock(pool);
  const watch = watchLoad(load, arrivals, stack, progress);
  try {
    await offerLoad(load, arrivals, { target, nextPath: population.nextPath, recorded, stop: stopLoad });
    // The database's clock at the end of the arrivals, however long the last answers took since.
    const endedAt = new Date((await readClock(pool)).getTime() - (Date.now() - load.endedAt));
    const ledger = await checkLedger(pool, recorded, {
      advertiserIds: population.advertiserIds,
      startedAt,
      endedAt,
      waitMs,
      stop: giveUp,
      onProgress: (found) => progress.show(`Looking up clicks in the ledger: ${found} of ${recorded.size}`),
    });
    progress.show('Asking the books');
    const config = parseConfig(stack.settings);
    const brokers = await createBooks(
      config,
      createLogger('books', { LOG_LEVEL: 'silent', LOG_FORMAT: 'json' }),
    );
    const books = await reconcile(pool, { deep, brokers });
    return {
      arrivals,
      load,
      interrupted: stopLoad.aborted,
      ledger,
      books,
      backlogMax: watch.most(),
    };
  } finally {
    watch.stop();
  }
}

/** Shows how the load goes, once a second, and keeps the largest backlog seen. */
function watchLoad(load: Load, arrivals: Arrivals, stack: Stack, progress: Progress) {
  let backlog: Backlog = { brokerClicks: null, oldestSeconds: null };
  const most = { brokerClicks: 0, oldestSeconds: 0 };
  let before = totalsOf(load);
  let beforeAt = performance.now();
  const look = async () => {
    const [now, at] = [totalsOf(load), performance.now()];
    const perSecond = (count: number) => Math.round((count / (at - beforeAt)) * 1_000);
    const counts = load.phases[load.phase];
    if (load.endedAt === 0 && counts) {
      const p99 = (counts.latencyMicros.getValueAtPercentile(99) / 1_000).toFixed(1);
      const waiting = backlog.brokerClicks === null ? '' : `, in the broker ${backlog.brokerClicks}`;
      progress.show(
        `${arrivals.phases[load.phase]?.name}: offered ${perSecond(now.begun - before.begun)}/s, ` +
          `answered ${perSecond(now.answered - before.answered)}/s, under way ${load.underWay}, p99 ${p99} ms, ` +
          `failed ${now.failed}, shed ${now.shed}${waiting}`,
      );
    }
    [before, beforeAt] = [now, at];
    backlog = await readBacklog(stack);
    most.brokerClicks = Math.max(most.brokerClicks, backlog.brokerClicks ?? 0);
    most.oldestSeconds = Math.max(most.oldestSeconds, backlog.oldestSeconds ?? 0);
  };
  const timer = setInterval(look, LOOK_MS);
  return {
    most: (): Backlog => most,
    stop: () => clearInterval(timer),
  };
}

function totalsOf(load: Load) {
  const sum = { begun: 0, answered: 0, failed: 0, shed: 0 };
  for (const { begun, recorded, unrecorded, failed, shed } of load.phases) {
    sum.begun += begun;
    sum.answered += recorded + unrecorded;
    sum.failed += failed;
    sum.shed += shed;
  }
  return sum;
}
