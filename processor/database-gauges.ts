import { withDeadline } from '../common/deadline.ts';
import { errorCode, errorMessage } from '../common/errors.ts';
import { isSqlState, type Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import type { OpenProblems } from '../common/telemetry/problems.ts';
import { type FailureLines, ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { readCampaignCaps } from '../ledger/accounts/campaign-caps.ts';
import { countDeadLetters } from '../ledger/charge/dead-letters.ts';
import { readAdvertiserNumbers } from '../ledger/operations/advertiser-numbers.ts';
import { countDaysAhead } from '../ledger/partitions.ts';
import { AdvertiserGauges } from './advertiser-gauges.ts';
import { removeCampaigns, setCampaigns } from './campaign-gauges.ts';

const NO_ANSWER: FailureLines = {
  failed:
    'The database does not answer the processor; clicks wait in the broker. Check the server and the network',
  recovered: 'The database answers the processor again',
};
/** The line about a database that lacks the tables, or the grants on them. */
const WRONG_SCHEMA = {
  failed:
    'The database answers the processor with an error; clicks wait in the broker. Check that DATABASE_URL names the right database and role, and run npm run migrate, which adds missing tables and grants',
};
/** Time between two reads of all budgets, in ms: setting thousands of gauges takes a while. */
const BUDGETS_MS = 5_000;

export type DatabaseGauges = {
  /** Queries the database and sets the gauges. Never rejects. */
  readonly read: () => Promise<void>;
  /** Whether the latest read found that the database cannot charge clicks. */
  readonly isUnusable: () => boolean;
  /** Prepares the metrics for a scrape: removes the budgets if they were read longer than `staleMs` ago. */
  readonly refresh: (staleMs: number) => Promise<void>;
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
    advertisersMax,
  }: {
    metrics: ProcessMetrics;
    logger: Logger;
    problems: OpenProblems;
    stopping: AbortSignal;
    answerMsMax: number;
    /** METRICS_ADVERTISERS_MAX */
    advertisersMax: number;
  },
): DatabaseGauges {
  let budgetsReadAt: number | null = null;
  const advertisers = new AdvertiserGauges(metrics, advertisersMax);
  let isUnusable = false;
  const log = new ThrottledLog(logger, NO_ANSWER);
  const setAnswering = (isReadOnly: boolean) => {
    isUnusable = isReadOnly;
    metrics.databaseUp.set(1);
    log.recover();
    if (isReadOnly) problems.report('database', 'it is read-only: no click can be charged');
    else problems.clear('database');
  };
  problems.report('database', 'it has not been checked yet');

  return {
    read: async () => {
      try {
        const isReadOnly = await readIsReadOnly(pool, answerMsMax);
        // A database that answers, and has not got the tables, does not recover with each first query.
        if (budgetsReadAt === null || performance.now() - budgetsReadAt >= BUDGETS_MS) {
          await readBudgets(pool, { metrics, advertisers, advertisersMax });
          budgetsReadAt = performance.now();
        }
        setAnswering(isReadOnly);
      } catch (error) {
        if (stopping.aborted) return;
        isUnusable = true;
        metrics.databaseUp.set(0);
        const problem = errorMessage(error);
        const isAnswer = isWrongSchema(error);
        log.fail({ problem }, isAnswer ? WRONG_SCHEMA.failed : undefined);
        problems.report(
          'database',
          `${isAnswer ? 'it answers with an error' : 'it does not answer'}: ${problem}`,
        );
      }
    },
    isUnusable: () => isUnusable,
    refresh: async (staleMs) => {
      if (budgetsReadAt !== null && performance.now() - budgetsReadAt > staleMs) {
        advertisers.remove();
        removeCampaigns(metrics);
        metrics.deadLetters.remove();
        metrics.partitionsAhead.remove();
      }
      await advertisers.foldOverDelivery();
    },
  };
}

/** Rejects if the database does not answer within `answerMsMax`. */
async function readIsReadOnly(pool: Pool, answerMsMax: number): Promise<boolean> {
  const { rows } = await withDeadline(
    pool.query<{ isReadOnly: boolean }>(
      `select current_setting('transaction_read_only') = 'on' as "isReadOnly"`,
    ),
    answerMsMax,
    'The database',
  );
  return rows[0]?.isReadOnly ?? false;
}

/** Whether a server has answered that it has no such table or column, or that the role may not read it. */
function isWrongSchema(error: unknown): boolean {
  const code = errorCode(error);
  return isSqlState(code) && code?.startsWith('42') === true;
}

/** Reads budgets, caps, dead letters and the days ahead into the metrics. */
async function readBudgets(
  pool: Pool,
  {
    metrics,
    advertisers,
    advertisersMax,
  }: { metrics: ProcessMetrics; advertisers: AdvertiserGauges; advertisersMax: number },
): Promise<void> {
  const numbers = await readAdvertiserNumbers(pool);
  const readAt = performance.now();
  const exported = numbers.slice(0, advertisersMax).map(({ id }) => id);
  const campaigns = await readCampaignCaps(pool, exported, advertisersMax);
  const deadLetters = await countDeadLetters(pool);
  const daysAhead = await countDaysAhead(pool);
  // Without an await in between, so that no scrape sees a part of them.
  advertisers.set(numbers, readAt);
  setCampaigns(metrics, campaigns);
  metrics.deadLetters.set(deadLetters);
  metrics.partitionsAhead.set(daysAhead);
}
