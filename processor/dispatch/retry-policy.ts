import type { FailureKind } from '../../common/postgres/postgres.ts';

/**
 * Decides what to do with a batch that failed. Two rules protect the money:
 *
 * - An outage never costs a click: a transient failure is retried without limit and counts no attempt.
 * - A record becomes a dead letter only after proof that the fault is its own: all its attempts failed while other clicks could be
 *   settled, and then a dry run of a click of its kind succeeds.
 *
 * After one failed transaction (`afterFailure`):
 *
 * | failure | records in the batch | action |
 * |---|---|---|
 * | transient: the database is down, a lock or a query timed out, … | any | retry |
 * | an advertiser's row is locked by another session | any | set aside the clicks of that advertiser, settle the others |
 * | invariant: a constraint contradicts our arithmetic | any | stop the process; nothing of the batch was kept |
 * | permanent | more than one | split in halves and settle each |
 * | permanent | one | isolate, as below |
 *
 * For one record that fails permanently (`nextStep`), from top to bottom, the first row that fits:
 *
 * | other clicks were settled since | others wait in the lane | attempts left | dry run | step |
 * |---|---|---|---|---|
 * | no | yes | any | any | settle the others first: if they pass, the fault is in this record |
 * | yes | any | yes | any | retry, at once the first time, later after a pause |
 * | otherwise | | | not run | dry run |
 * | otherwise | | | failed | wait: any other click of its kind would fail too |
 * | otherwise | | | passed after a failure | retry: the fault was repaired after the last attempt |
 * | no | no | yes | passed | retry |
 * | any | any | no | passed | quarantine |
 */
export type FailureAction = 'retry' | 'set aside' | 'stop' | 'split' | 'isolate';

export type BatchFailureKind = FailureKind | 'advertiser locked';

/** `records`: how many the failed batch holds, ≥ 1. */
export function afterFailure(kind: BatchFailureKind, records: number): FailureAction {
  switch (kind) {
    case 'transient':
      return 'retry';
    case 'advertiser locked':
      return 'set aside';
    case 'invariant':
      return 'stop';
    case 'permanent':
      return records > 1 ? 'split' : 'isolate';
    default:
      return kind satisfies never;
  }
}

/** What is known about a record that fails permanently by itself. */
export type Isolation = {
  /** Clicks were settled since the record first failed, or a dry run has passed since then. */
  readonly othersSettled: boolean;
  /** The record's lane has more batches waiting. */
  readonly othersWaiting: boolean;
  /** Attempts counted so far: those made while others could be settled. */
  readonly attempts: number;
  /** `RETRY_ATTEMPTS` */
  readonly attemptsMax: number;
  /** The dry run of this round. `passed after a failure`: the one of the round before had failed. */
  readonly dryRun: 'not run' | 'passed' | 'passed after a failure' | 'failed';
};

export type IsolationStep =
  | 'settle others'
  | 'dry run'
  | 'retry'
  | 'retry after a pause'
  | 'wait'
  | 'quarantine';

/** The next step for a record that fails permanently by itself. After `dry run`, call it again with the result. */
export function nextStep(state: Isolation): IsolationStep {
  const { othersSettled, othersWaiting, attempts, attemptsMax, dryRun } = state;
  if (!othersSettled && othersWaiting && dryRun === 'not run') return 'settle others';
  const isExhausted = attempts >= attemptsMax;
  if (othersSettled && !isExhausted) return attempts === 0 ? 'retry' : 'retry after a pause';
  if (dryRun === 'not run') return 'dry run';
  if (dryRun === 'failed') return 'wait';
  if (dryRun === 'passed after a failure') return 'retry';
  return isExhausted ? 'quarantine' : 'retry';
}
