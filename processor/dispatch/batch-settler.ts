import { errorMessage } from '../../common/errors.ts';
import { failureKind, isDatabaseUnavailable, type Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import { OpenProblems, type Problem } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { type ChargeOptions, chargeClicks } from '../charge/charge-clicks.ts';
import { dryRunCharge } from '../charge/dry-run.ts';
import { quarantine } from '../charge/quarantine.ts';
import { countBatch } from './batch-metrics.ts';
import type { CommitProbes } from './commit-probes.ts';
import type { LockedAdvertisers } from './locked-advertisers.ts';
import { afterFailure, type BatchFailureKind, nextStep } from './retry-policy.ts';
import { stoppingError } from './submission.ts';

/** A batch that has been with the database for longer than this, in ms, is reported as a problem. */
const STALLED_MS = 5_000;
/** Longest wait for each lock by the batch of all lanes, in seconds. */
const SHARED_LOCK_SECONDS = 2;
/** Outcomes that prove that clicks can be charged. Duplicates, watermarks and dead letters can settle while clicks cannot. */
const CLICK_OUTCOMES = new Set(['charged', 'over_budget', 'invalid']);

export type SettlerOptions = {
  readonly clickAgeMaxDays: number;
  /** Retries of a record that fails by itself, after the first attempt and before it becomes a dead letter. */
  readonly retryAttempts: number;
};

export type SettlerDeps = {
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Called if a constraint contradicts the charge's arithmetic: nothing of the batch was kept, and the process must stop. */
  readonly onInvariant: (error: unknown) => void;
  readonly locked: Pick<LockedAdvertisers<unknown>, 'detect' | 'ids'>;
  readonly probes: CommitProbes;
  /** Ends every retry. */
  readonly stop: AbortSignal;
};

/** The lane that a batch belongs to. */
export type BatchLane = {
  /** Name of the lane in problems and logs. */
  readonly name: string;
  /** Whether every submission of the batch has ended, so that nothing waits for the result. */
  readonly isAbandoned: () => boolean;
  readonly hasOthers: () => boolean;
  /** Settles the next batch of the lane. */
  readonly settleOthers: () => Promise<void>;
};

/** `advertiser locked`: part of the batch can be settled already; set the clicks of locked advertisers aside and settle the rest again. */
export type SettleResult = 'settled' | 'advertiser locked';

type Failure = { readonly kind: BatchFailureKind; readonly error: unknown };
type FailedRecord = {
  readonly record: ReadRecord;
  readonly error: unknown;
  /** `clicksSettled` when it failed. */
  readonly clicksBefore: number;
};

/**
 * Settles batches with the handler until every record has an outcome, as `retry-policy.ts` decides. All lanes share one settler: when one
 * lane settles clicks, another lane knows that its failure does not affect every click.
 */
export class BatchSettler {
  private readonly pool: Pool;
  private readonly options: SettlerOptions;
  private readonly deps: SettlerDeps;
  private clicksSettled = 0;
  /** When the batch that a lane has with the database was first sent (monotonic, ms), by lane. */
  private readonly sentAt = new Map<string, number>();
  private readonly failures: ThrottledLog;
  /** Why a lane is blocked, by the name of the lane. */
  private readonly blocked = new OpenProblems();
  /** Why the latest attempt failed; `null` after a successful one. */
  lastFailure: string | null = null;

  constructor(pool: Pool, options: SettlerOptions, deps: SettlerDeps) {
    this.pool = pool;
    this.options = options;
    this.deps = deps;
    this.failures = new ThrottledLog(deps.logger, {
      failed: 'The database does not settle clicks; they wait in the broker',
      recovered: 'The database settles clicks again',
    });
  }

  /** Why clicks are not settled: failures that are retried, and batches that the database has not answered. */
  get problems(): readonly Problem[] {
    const now = performance.now();
    const stalled = [...this.sentAt]
      .filter(([name, sentAt]) => now - sentAt > STALLED_MS && !this.blocked.has(name))
      .map(([what, sentAt]) => ({ what, reason: 'the database has not answered', forMs: now - sentAt }));
    return [...this.blocked.list(), ...stalled];
  }

  /** Settles a batch. Throws `STOPPING` when it is stopped or abandoned, and the error of a broken invariant. */
  async settle(batch: readonly ReadRecord[], lane: BatchLane): Promise<SettleResult> {
    try {
      return await this.settleWithBisect(batch, lane);
    } finally {
      this.blocked.clear(lane.name);
    }
  }

  /**
   * Tries once to settle a batch of all lanes, under the name of one of them. Returns whether it is settled; if not, `settle` the part of each
   * lane. Its wait for a lock is short, because clicks of advertisers that are not locked wait too.
   */
  async tryOnce(batch: readonly ReadRecord[], name: string): Promise<boolean> {
    this.sentAt.set(name, performance.now());
    try {
      await this.charge(batch, { lockSeconds: SHARED_LOCK_SECONDS });
      this.recover(name);
      return true;
    } catch (error) {
      this.deps.metrics.batchRetries.inc({ cause: failureKind(error) });
      return false;
    } finally {
      this.sentAt.delete(name);
    }
  }

  private async settleWithBisect(batch: readonly ReadRecord[], lane: BatchLane): Promise<SettleResult> {
    const waiting: (readonly ReadRecord[])[] = [batch];
    const failed: FailedRecord[] = [];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const failure = await this.attempt(next, lane);
      const [record] = next;
      if (failure === null || record === undefined) continue;
      const action = afterFailure(failure.kind, next.length);
      if (action === 'set aside') return 'advertiser locked';
      if (action === 'isolate') {
        failed.push({ record, error: failure.error, clicksBefore: this.clicksSettled });
      } else {
        const middle = next.length >> 1;
        waiting.push(next.slice(middle), next.slice(0, middle));
      }
    }
    for (const record of failed) {
      if ((await this.isolatePoisonRecord(record, lane)) === 'advertiser locked') return 'advertiser locked';
    }
    return 'settled';
  }

  /** Retries a record that fails by itself until it is settled or proved to be poison. */
  private async isolatePoisonRecord(
    { record, error: firstError, clicksBefore }: FailedRecord,
    lane: BatchLane,
  ): Promise<SettleResult> {
    let error = firstError;
    let hasPassedDryRun = false;
    let hasJustFailedDryRun = false;
    for (let round = 1, attempts = 0; ; round += 1) {
      const state = {
        othersSettled: hasPassedDryRun || this.clicksSettled > clicksBefore,
        othersWaiting: lane.hasOthers(),
        attempts,
        attemptsMax: this.options.retryAttempts,
      };
      let step = nextStep({ ...state, dryRun: 'not run' });
      if (step === 'dry run') {
        const hasPassed = await this.canCharge(record);
        const passed = hasJustFailedDryRun ? 'passed after a failure' : 'passed';
        step = nextStep({ ...state, dryRun: hasPassed ? passed : 'failed' });
        hasPassedDryRun ||= hasPassed;
        hasJustFailedDryRun = !hasPassed;
      }
      if (step === 'quarantine') return this.quarantine(record, error, lane);
      if (step === 'settle others') {
        await lane.settleOthers();
        continue;
      }
      if (step === 'wait') await this.waitForRepair(round, record, error, lane);
      if (step === 'retry after a pause') await this.pause(round, lane);
      const failure = await this.attempt([record], lane);
      if (failure === null) return 'settled';
      if (failure.kind === 'advertiser locked') return 'advertiser locked';
      error = failure.error;
      if (state.othersSettled || hasPassedDryRun) attempts += 1;
    }
  }

  /** Reports a fault that affects every click of this kind, settles the next batch of the lane, and waits. */
  private async waitForRepair(
    round: number,
    record: ReadRecord,
    error: unknown,
    lane: BatchLane,
  ): Promise<void> {
    const message = 'A record fails, and the dry run of another click fails too; the record is retried';
    this.reportFailure(message, record, error, lane);
    if (lane.hasOthers()) await lane.settleOthers();
    await this.pause(round, lane);
  }

  private async canCharge(record: ReadRecord): Promise<boolean> {
    const { clickAgeMaxDays } = this.options;
    return dryRunCharge(this.pool, record, { clickAgeMaxDays }, this.deps.locked.ids);
  }

  private async quarantine(record: ReadRecord, cause: unknown, lane: BatchLane): Promise<SettleResult> {
    // A lost watermark has no effect: the next one is higher.
    if (record.is === 'watermark') return 'settled';
    const { position, key } = record;
    this.deps.logger.error(
      { position, key, err: cause },
      'A record fails while others are charged; it becomes a dead letter. See npx tollway dead-letters list',
    );
    for (let round = 1; ; round += 1) {
      try {
        const settlement = await quarantine(this.pool, record, errorMessage(cause));
        this.deps.probes.remember([record], settlement.outcomes);
        countBatch(this.deps.metrics, [record], settlement, 0);
        return 'settled';
      } catch (error) {
        if (await this.deps.locked.detect(error, [record])) return 'advertiser locked';
        this.reportFailure('A dead letter cannot be written; it is retried', record, error, lane);
        await this.pause(round, lane);
      }
    }
  }

  /** Settles a batch with the handler, retrying transient failures. Resolves to `null` when it is settled. */
  private async attempt(batch: readonly ReadRecord[], lane: BatchLane): Promise<Failure | null> {
    this.sentAt.set(lane.name, performance.now());
    try {
      for (let round = 1; ; round += 1) {
        const failure = await this.attemptOnce(batch);
        if (failure === null) {
          this.recover(lane.name);
          return null;
        }
        const action = afterFailure(failure.kind, batch.length);
        if (action === 'stop') {
          this.deps.onInvariant(failure.error);
          throw failure.error;
        }
        if (action !== 'retry') return failure;
        if (isDatabaseUnavailable(failure.error)) this.deps.metrics.databaseUp.set(0);
        const message = 'The database does not settle clicks; they wait';
        this.reportFailure(message, batch[0], failure.error, lane);
        await this.pause(round, lane);
      }
    } finally {
      this.sentAt.delete(lane.name);
    }
  }

  private async attemptOnce(batch: readonly ReadRecord[]): Promise<Failure | null> {
    try {
      await this.charge(batch, {});
      return null;
    } catch (error) {
      const kind = failureKind(error);
      this.deps.metrics.batchRetries.inc({ cause: kind });
      const isLocked = kind === 'transient' && (await this.deps.locked.detect(error, batch));
      return { kind: isLocked ? 'advertiser locked' : kind, error };
    }
  }

  /** One transaction. */
  private async charge(
    batch: readonly ReadRecord[],
    wait: Pick<ChargeOptions, 'lockSeconds'>,
  ): Promise<void> {
    const { metrics, probes } = this.deps;
    const { clickAgeMaxDays } = this.options;
    const startedAt = performance.now();
    const settlement = await chargeClicks(this.pool, batch, { clickAgeMaxDays, ...wait });
    for (const { outcome } of settlement.outcomes) if (CLICK_OUTCOMES.has(outcome)) this.clicksSettled += 1;
    probes.remember(batch, settlement.outcomes);
    metrics.databaseUp.set(1);
    countBatch(metrics, batch, settlement, (performance.now() - startedAt) / 1_000);
  }

  private async pause(round: number, lane: BatchLane): Promise<void> {
    await sleep(backoffMs(round), this.deps.stop);
    if (this.deps.stop.aborted || lane.isAbandoned()) throw stoppingError();
  }

  private recover(name: string): void {
    this.lastFailure = null;
    this.blocked.clear(name);
    // The log reports a recovery only when no lane is blocked.
    if (this.blocked.size === 0) this.failures.recover();
  }

  private reportFailure(
    message: string,
    record: ReadRecord | undefined,
    error: unknown,
    { name }: BatchLane,
  ): void {
    this.lastFailure = errorMessage(error);
    const sentAt = this.sentAt.get(name);
    this.blocked.report(name, this.lastFailure, sentAt === undefined ? 0 : performance.now() - sentAt);
    this.failures.fail({ position: record?.position, problem: this.lastFailure }, message);
  }
}
