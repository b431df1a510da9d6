import { withDeadline } from '../common/deadline.ts';
import { errorMessage } from '../common/errors.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import type { OpenProblems } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { type AdvertiserBudget, readBudgets } from '../ledger/advertisers.ts';
import { readCampaignPaces } from '../ledger/campaign-paces.ts';
import { countDeadLetters } from '../ledger/dead-letters.ts';

/** Maximum number of advertisers whose budgets are exported, the latest first; it bounds the series in Prometheus. */
const ADVERTISERS_MAX = 10_000;
/** Maximum number of campaigns whose pace is exported, the latest first. */
const CAMPAIGNS_MAX = 10_000;
/** Time between two reads of all budgets, in ms: setting thousands of gauges takes a while. */
const BUDGETS_MS = 5_000;

export type DatabaseGauges = {
  /** Queries the database and sets the gauges. Never rejects. */
  readonly read: () => Promise<void>;
  /** Whether the latest read found that the database cannot charge clicks. */
  readonly isUnusable: () => boolean;
  /** Removes the budgets if they were read longer than `staleMs` ago. */
  readonly removeStale: (staleMs: number) => void;
};

/** Reads the state of the database, the budgets and the number of dead letters. Reports problems of the database to `problems`. */
export function databaseGauges(
  pool: Pool,
  {
    metrics,
    logger,
    problems,
    stopping,
    answerMsMax,
  }: {
    metrics: ProcessMetrics;
    logger: Logger;
    problems: OpenProblems;
    stopping: AbortSignal;
    answerMsMax: number;
  },
): DatabaseGauges {
  let budgetsReadAt: number | null = null;
  let advertisers: readonly AdvertiserBudget[] = [];
  let isUnusable = false;
  const log = new ThrottledLog(logger, {
    failed:
      'The database does not answer the processor; clicks wait in the broker. Check the server and the network',
    recovered: 'The database answers the processor again',
  });
  problems.report('database', 'it has not been checked yet');

  const readState = async () => {
    const { rows } = await withDeadline(
      pool.query<{ isReadOnly: boolean }>(
        `select current_setting('transaction_read_only') = 'on' as "isReadOnly"`,
      ),
      answerMsMax,
      'The database',
    );
    isUnusable = rows[0]?.isReadOnly ?? false;
    metrics.databaseUp.set(1);
    log.recover();
    if (isUnusable) problems.report('database', 'it is read-only: no click can be charged');
    else problems.clear('database');
  };
  return {
    read: async () => {
      try {
        await readState();
        if (budgetsReadAt !== null && performance.now() - budgetsReadAt < BUDGETS_MS) return;
        advertisers = await setBudgets(pool, metrics, advertisers);
        budgetsReadAt = performance.now();
      } catch (error) {
        if (stopping.aborted) return;
        isUnusable = true;
        metrics.databaseUp.set(0);
        log.fail({ problem: errorMessage(error) });
        problems.report('database', `it does not answer: ${errorMessage(error)}`);
      }
    },
    isUnusable: () => isUnusable,
    removeStale: (staleMs) => {
      if (budgetsReadAt !== null && performance.now() - budgetsReadAt > staleMs) removeBudgets(metrics);
    },
  };
}

/** Reads budgets, the paces of campaigns and dead letters into the metrics. `before` are the advertisers of the last read; returns the new ones. */
async function setBudgets(
  pool: Pool,
  metrics: ProcessMetrics,
  before: readonly AdvertiserBudget[],
): Promise<readonly AdvertiserBudget[]> {
  const advertisers = await readBudgets(pool, ADVERTISERS_MAX);
  const paces = await readCampaignPaces(pool, CAMPAIGNS_MAX);
  const deadLetters = await countDeadLetters(pool);
  removeBudgets(metrics);
  for (const { id: advertiser, name, status, currency, remaining, spent } of advertisers) {
    metrics.budgetRemaining.set({ advertiser, currency }, remaining);
    metrics.budgetSpent.set({ advertiser, currency }, spent);
    metrics.advertiserInfo.set({ advertiser, name, status, currency }, 1);
    // Creates the counter at 0, so that an alert on its increase sees the first increment.
    metrics.overDelivery.inc({ advertiser, currency }, 0);
  }
  for (const { campaignId: campaign, advertiserId: advertiser, pace } of paces) {
    metrics.campaignPlanned.set({ campaign, advertiser }, pace.planned);
    metrics.campaignSpent.set({ campaign, advertiser }, pace.spent);
    metrics.campaignAhead.set({ campaign, advertiser }, pace.isAhead ? 1 : 0);
  }
  metrics.deadLetters.set(deadLetters);
  // The other series were set again, but counters are never reset. An archived advertiser gets no more over-budget clicks.
  const present = new Set(advertisers.map(({ id }) => id));
  for (const { id: advertiser, currency } of before)
    if (!present.has(advertiser)) metrics.overDelivery.remove({ advertiser, currency });
  return advertisers;
}

function removeBudgets(metrics: ProcessMetrics): void {
  metrics.budgetRemaining.reset();
  metrics.budgetSpent.reset();
  metrics.advertiserInfo.reset();
  metrics.campaignPlanned.reset();
  metrics.campaignSpent.reset();
  metrics.campaignAhead.reset();
  metrics.deadLetters.remove();
}
