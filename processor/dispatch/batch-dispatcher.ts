import pLimit, { type LimitFunction } from 'p-limit';
import type { BatchSink } from '../../brokers/event-source.ts';
import { errorMessage } from '../../common/errors.ts';
import { failureKind, isAway, type Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import { OpenProblems, type Problem } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { countBatch } from './batch-metrics.ts';
import { BlockedAdvertisers } from './blocked-advertisers.ts';
import { chargeClicks, quarantine, type Settlement } from '../charge/charge-clicks.ts';
import { dryRunCharge } from '../charge/dry-run.ts';
import { openDelivery, type Share, settleShare, stopped } from './submission.ts';

export type HostOptions = {
  /** Most records the handler is given at once. */
  readonly batchSize: number;
  /** Handlers at work at once. */
  readonly lanes: number;
  readonly clickAgeMaxDays: number;
  /** Tries of what fails by itself, after the first, before it is given up. */
  readonly retryAttempts: number;
  /** Whether a batch that fails is cut in two; otherwise it is given up whole. */
  readonly bisectOnError: boolean;
};

/** Most that is taken and not yet settled: this many full batches for every lane, and this many bytes. */
const BATCHES_AHEAD = 2;
const BYTES_MAX = 33_554_432;
/**
 * Most clicks of blocked advertisers that are kept besides, and their bytes. Beyond, nothing more is taken until a row is free: the
 * backlog then grows in the broker, and readiness says why.
 */
const ASIDE_RECORDS_MAX = 20_000;
const ASIDE_BYTES_MAX = 33_554_432;
/** Most commit probes that are kept; they are asked for twice a second. */
const COMMIT_PROBES_MAX = 10_000;
/** A batch that the handler has had for longer than this counts as blocked, in ms. */
const STALLED_MS = 5_000;
/** Outcomes that need all of the ledger to work; a duplicate, a watermark or a dead letter does not. */
const PASSED = new Set(['charged', 'over_budget', 'invalid']);

type Lane = {
  readonly name: string;
  readonly limit: LimitFunction;
  readonly queue: Share[];
  /** When the handler was first given the batch that it has now (monotonic, ms), or `null` if it has none. */
  givenAt: number | null;
};
/** Who settles a batch, and whether anybody still waits for it. */
type Work = { readonly lane: Lane; readonly isOver: () => boolean };
type FailedBatch = { readonly batch: readonly ReadRecord[]; readonly since: number; readonly error: unknown };

/**
 * Runs the handler in a long-lived process. Clicks are assigned to lanes by advertiser, and each lane has one batch
 * with the handler at a time: so two of its transactions never wait for the same advertiser's lock. While one batch is
 * settled the next gathers, from all that the source delivers: under load batches grow by themselves.
 *
 * A transient failure is waited out for as long as it takes: no attempt and no age counts. A batch that fails
 * for good is cut in two until the record that fails is alone; if others pass meanwhile, or would, it is poison and is
 * quarantined. While nothing passes, the fault is not the record's: it waits too.
 *
 * Where a charge gives up on the row of an advertiser that another session keeps locked, the clicks of that advertiser wait aside, in
 * their order, and the others go on: see `BlockedAdvertisers`. They stay unsettled, so no checkpoint passes them.
 */
export class BatchDispatcher implements BatchSink {
  private readonly pool: Pool;
  private readonly options: HostOptions;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly onInvariant: (error: unknown) => void;
  private readonly lanes: readonly Lane[];
  private readonly stop = new AbortController();
  /** Taken and not yet settled. */
  private readonly inFlight = { records: 0, bytes: 0 };
  private wakers: (() => void)[] = [];
  /** A click of each transaction that was committed and not yet found again, oldest first. */
  private readonly openProbes = new Set<string>();
  /** Clicks that got a row of the ledger: the sign that the fault is not everybody's. */
  private clicksPassed = 0;
  private readonly failures: ThrottledLog;
  /** Why the last attempt failed, until one succeeds: kept when the batch is given up. */
  lastFailure: string | null = null;
  /** What blocks a lane, under the name of the lane. */
  private readonly blocked = new OpenProblems();
  private readonly locked: BlockedAdvertisers<Share>;
  /** The part of what is in flight that waits aside. */
  private readonly aside = { records: 0, bytes: 0 };

  constructor(
    pool: Pool,
    options: HostOptions,
    deps: { metrics: Metrics; logger: Logger; onInvariant: (error: unknown) => void },
  ) {
    this.pool = pool;
    this.options = options;
    this.metrics = deps.metrics;
    this.logger = deps.logger;
    this.failures = new ThrottledLog(deps.logger, {
      failed: 'The database does not settle clicks; they wait in the broker',
      recovered: 'The database settles clicks again',
    });
    this.onInvariant = deps.onInvariant;
    this.locked = new BlockedAdvertisers<Share>(pool, {
      logger: deps.logger,
      stopping: this.stop.signal,
      onFree: (shares, advertiserId) => this.resume(shares, advertiserId),
    });
    this.lanes = Array.from(
      { length: options.lanes },
      (_, index): Lane => ({
        name: `settlement in lane ${index + 1} of ${options.lanes}`,
        limit: pLimit(1),
        queue: [],
        givenAt: null,
      }),
    );
  }

  readonly waitForCapacity: BatchSink['waitForCapacity'] = async (signal) => {
    while (this.isFull() && !signal?.aborted && !this.stop.signal.aborted) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        this.wakers.push(wake);
        signal?.addEventListener('abort', wake);
      });
    }
  };

  readonly submit: BatchSink['submit'] = (records, signal, options) => {
    if (records.length === 0) return Promise.resolve();
    const { submission, done } = openDelivery(records.length, signal, options);
    if (signal?.aborted || this.stop.signal.aborted) {
      submission.end(stopped());
      return done;
    }
    this.count(records, 1);
    const assigned: ReadRecord[][] = this.lanes.map(() => []);
    for (const record of records) assigned[this.laneOf(record)]?.push(record);
    for (const [index, share] of assigned.entries()) {
      const lane = this.lanes[index];
      if (!lane || share.length === 0) continue;
      lane.queue.push({ submission, records: share });
      this.work(lane);
    }
    return done;
  };

  readonly freed = (): number => this.locked.freed;

  /** Clicks of blocked advertisers that wait aside. */
  get clicksAside(): number {
    return this.aside.records;
  }

  readonly commitProbes: BatchSink['commitProbes'] = () => [...this.openProbes];

  readonly forget: BatchSink['forget'] = (commitProbes) => {
    for (const commitProbe of commitProbes) this.openProbes.delete(commitProbe);
  };

  /** What keeps clicks from being settled: failures that are retried, and batches without an answer. */
  get problems(): readonly Problem[] {
    const now = performance.now();
    const stalled = this.lanes.flatMap(({ name, givenAt }) => {
      const forMs = givenAt === null ? 0 : now - givenAt;
      const isStalled = forMs > STALLED_MS && !this.blocked.has(name);
      return isStalled ? [{ what: name, reason: 'the database has not answered', forMs }] : [];
    });
    return [...this.blocked.list(), ...stalled, ...this.locked.problems];
  }

  /** Stops waiting for what fails. What is with the handler now may still end well. */
  abort(): void {
    this.stop.abort();
    for (const { submission } of this.locked.drop(() => true)) submission.end(stopped());
    this.wake();
  }

  private isFull(): boolean {
    const { batchSize, lanes } = this.options;
    if (this.aside.records >= ASIDE_RECORDS_MAX || this.aside.bytes >= ASIDE_BYTES_MAX) return true;
    return (
      this.inFlight.records - this.aside.records >= batchSize * lanes * BATCHES_AHEAD ||
      this.inFlight.bytes - this.aside.bytes >= BYTES_MAX
    );
  }

  private count(records: readonly ReadRecord[], sign: 1 | -1, counts = this.inFlight): void {
    let bytes = 0;
    for (const { value } of records) bytes += value?.length ?? 0;
    counts.records += sign * records.length;
    counts.bytes += sign * bytes;
    if (sign < 0) this.wake();
  }

  private laneOf(record: ReadRecord): number {
    return record.is === 'click' ? record.click.advertiserId % this.lanes.length : 0;
  }

  /** Sets the clicks of blocked advertisers aside, or gives them back; answers the others. */
  private withoutBlocked({ submission, records }: Share): readonly ReadRecord[] {
    if (this.stop.signal.aborted) {
      submission.end(stopped());
      this.count(records, -1);
      return [];
    }
    const others: ReadRecord[] = [];
    const aside = new Map<number, ReadRecord[]>();
    for (const record of records) {
      const advertiserId = record.is === 'click' ? record.click.advertiserId : null;
      if (advertiserId === null || !this.locked.has(advertiserId)) others.push(record);
      else aside.set(advertiserId, [...(aside.get(advertiserId) ?? []), record]);
    }
    for (const [advertiserId, clicks] of aside) {
      if (submission.givenBack !== null) {
        this.count(clicks, -1);
        submission.givenBack += clicks.length;
        settleShare(submission, 0);
        continue;
      }
      // A copy: the bytes of a click may be a small part of all that was fetched with it.
      const copies = clicks.map((record) => ({
        ...record,
        value: record.value && Buffer.from(record.value),
      }));
      this.count(copies, 1, this.aside);
      this.locked.wait(advertiserId, { submission, records: copies });
    }
    // What nobody waits for any more makes room.
    for (const { records: dropped } of this.locked.drop((share) => share.submission.over)) {
      this.count(dropped, -1, this.aside);
      this.count(dropped, -1);
    }
    // What is aside leaves room for others.
    if (aside.size > 0) this.wake();
    return others;
  }

  /** Puts what has waited aside before all that came later. */
  private resume(shares: Share[], advertiserId: number): void {
    for (const { records } of shares) this.count(records, -1, this.aside);
    const lane = this.lanes[advertiserId % this.lanes.length];
    if (!lane) return;
    lane.queue.unshift(...shares);
    this.work(lane);
    this.wake();
  }

  private wake(): void {
    const wakers = this.wakers;
    this.wakers = [];
    for (const waker of wakers) waker();
  }

  /** Has the next batch of a lane settled, after the one that is with the handler. */
  private work(lane: Lane): void {
    if (lane.limit.pendingCount === 0) void lane.limit(() => this.settleNext(lane));
  }

  /** Settles the next batch of a lane, if what it was called for has not gone with an earlier one. */
  private async settleNext(lane: Lane): Promise<void> {
    const shares = this.nextBatch(lane);
    const [first] = shares;
    if (!first) return;
    let isBlocked = false;
    const batch = shares.length === 1 ? first.records : shares.flatMap(({ records }) => records);
    try {
      await this.settleWithBisect(batch, {
        lane,
        isOver: () => shares.every(({ submission }) => submission.over),
      });
      for (const { submission, records } of shares) {
        settleShare(submission, records.length);
      }
    } catch (error) {
      isBlocked = error instanceof AdvertiserBlocked;
      // The same again without the blocked advertisers. What of it is settled already is found to be a duplicate.
      if (isBlocked) lane.queue.unshift(...shares);
      else for (const { submission } of shares) submission.end(error);
    } finally {
      this.blocked.clear(lane.name);
      if (!isBlocked) this.count(batch, -1);
    }
    if (lane.queue.length > 0) this.work(lane);
  }

  /** Takes at most a batch from the queue of a lane. What nobody waits for any more is dropped. */
  private nextBatch(lane: Lane): Share[] {
    const shares: Share[] = [];
    let waitForCapacity = this.options.batchSize;
    for (let share = lane.queue.shift(); share; share = lane.queue.shift()) {
      const { submission } = share;
      if (submission.over) {
        this.count(share.records, -1);
        continue;
      }
      const records = this.locked.size === 0 ? share.records : this.withoutBlocked(share);
      if (records.length === 0) continue;
      shares.push({ submission, records: records.slice(0, waitForCapacity) });
      if (records.length > waitForCapacity)
        lane.queue.unshift({ submission, records: records.slice(waitForCapacity) });
      waitForCapacity -= Math.min(waitForCapacity, records.length);
      if (waitForCapacity === 0) break;
    }
    return shares;
  }

  private async settleWithBisect(batch: readonly ReadRecord[], work: Work): Promise<void> {
    const waiting: (readonly ReadRecord[])[] = [batch];
    const failedBatches: FailedBatch[] = [];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const error = await this.attempt(next, work);
      if (error === null) continue;
      const cut = this.options.bisectOnError && next.length > 1 ? next.length >> 1 : 0;
      if (cut === 0) failedBatches.push({ batch: next, since: this.clicksPassed, error });
      else waiting.push(next.slice(cut), next.slice(0, cut));
    }
    for (const one of failedBatches) await this.isolatePoisonRecord(one, work);
  }

  /**
   * Tries what failed by itself. It is poison if it goes on failing, as often as it is allowed to, where a click of its kind
   * would pass; where none would, the fault is not its own, and it waits.
   */
  private async isolatePoisonRecord(
    { batch, since, error: firstError }: FailedBatch,
    work: Work,
  ): Promise<void> {
    let error: unknown = firstError;
    for (let attempt = 1, counted = 0; error !== null; attempt += 1) {
      const othersPassed = this.clicksPassed > since;
      if (!othersPassed && work.lane.queue.length > 0) {
        // Those who could pass may be waiting behind it.
        await this.settleNext(work.lane);
        continue;
      }
      const isTried = counted >= this.options.retryAttempts;
      const othersWould = (!othersPassed || isTried) && (await this.canCharge(batch));
      if (othersWould && isTried) return this.quarantine(batch, error, work);
      if (othersWould) this.clicksPassed += 1;
      else if (!othersPassed || isTried) {
        const message = 'A record fails, and so would any other of its kind: the fault is not its own';
        this.reportFailure(message, batch[0], error, work);
        if (work.lane.queue.length > 0) await this.settleNext(work.lane);
        await this.pause(attempt, work);
      } else if (counted > 0) await this.pause(attempt, work);
      error = await this.attempt(batch, work);
      if (othersPassed || othersWould) counted += 1;
    }
  }

  /** Tries one of the same kind that nobody made. */
  private async canCharge([record]: readonly ReadRecord[]): Promise<boolean> {
    const { clickAgeMaxDays } = this.options;
    return (
      record !== undefined && (await dryRunCharge(this.pool, record, { clickAgeMaxDays }, this.locked.ids))
    );
  }

  private async quarantine(batch: readonly ReadRecord[], cause: unknown, work: Work): Promise<void> {
    for (const record of batch) {
      // A watermark owes nobody anything, and the next one says more.
      if (record.is === 'watermark') continue;
      const { position, key } = record;
      this.logger.error({ position, key, err: cause }, 'A record is poison: to the dead letters');
      for (let attempt = 1; ; attempt += 1) {
        try {
          countBatch(this.metrics, [record], await quarantine(this.pool, record, errorMessage(cause)), 0);
          break;
        } catch (error) {
          if (await this.locked.explains(error, [record])) throw new AdvertiserBlocked();
          this.reportFailure('The dead letters cannot be written', record, error, work);
          await this.pause(attempt, work);
        }
      }
    }
  }

  /** Hands one batch to the handler until it is settled (null) or fails for good (the error). */
  private async attempt(batch: readonly ReadRecord[], work: Work): Promise<unknown> {
    work.lane.givenAt = performance.now();
    try {
      return await this.attemptUntilDone(batch, work);
    } finally {
      work.lane.givenAt = null;
    }
  }

  private async attemptUntilDone(batch: readonly ReadRecord[], work: Work): Promise<unknown> {
    for (let attempt = 1; ; attempt += 1) {
      const startedAt = performance.now();
      try {
        const { clickAgeMaxDays } = this.options;
        const settlement = await chargeClicks(this.pool, batch, { clickAgeMaxDays });
        this.clicksPassed += settlement.outcomes.filter(({ outcome }) => PASSED.has(outcome)).length;
        this.remember(commitProbeOf(batch, settlement));
        this.settleProblem(work.lane);
        this.metrics.databaseUp.set(1);
        countBatch(this.metrics, batch, settlement, (performance.now() - startedAt) / 1_000);
        return null;
      } catch (error) {
        const kind = failureKind(error);
        this.metrics.batchRetries.inc({ cause: kind });
        if (kind === 'permanent') return error;
        if (kind === 'invariant') {
          this.onInvariant(error);
          throw error;
        }
        if (await this.locked.explains(error, batch)) throw new AdvertiserBlocked();
        if (isAway(error)) this.metrics.databaseUp.set(0);
        this.reportFailure('The database does not settle clicks; they wait', batch[0], error, work);
        await this.pause(attempt, work);
      }
    }
  }

  private remember(commitProbe: string | null): void {
    if (commitProbe === null) return;
    this.openProbes.add(commitProbe);
    if (this.openProbes.size <= COMMIT_PROBES_MAX) return;
    const [oldest] = this.openProbes;
    if (oldest !== undefined) this.openProbes.delete(oldest);
  }

  private async pause(attempt: number, work: Work): Promise<void> {
    await sleep(backoffMs(attempt), this.stop.signal);
    if (this.stop.signal.aborted || work.isOver()) throw stopped();
  }

  private settleProblem(lane: Lane): void {
    this.lastFailure = null;
    this.blocked.clear(lane.name);
    // Another lane may still be blocked: then its reason stays the last word in the log.
    if (this.blocked.size === 0) this.failures.recover();
  }

  private reportFailure(
    message: string,
    record: ReadRecord | undefined,
    error: unknown,
    { lane }: Work,
  ): void {
    this.lastFailure = errorMessage(error);
    const forMs = lane.givenAt === null ? 0 : performance.now() - lane.givenAt;
    this.blocked.report(lane.name, this.lastFailure, forMs);
    this.failures.fail({ position: record?.position, problem: errorMessage(error) }, message);
  }
}

/** A click that has got its row in this transaction: as long as it has it, the transaction is not lost. */
function commitProbeOf(batch: readonly ReadRecord[], { outcomes }: Settlement): string | null {
  for (let at = batch.length - 1; at >= 0; at -= 1) {
    const record = batch[at];
    const { outcome = 'duplicate' } = outcomes[at] ?? {};
    if (record?.is === 'click' && (PASSED.has(outcome) || outcome === 'rejected'))
      return record.click.clickId;
  }
  return null;
}

/** Ends the work on a batch: the clicks of an advertiser in it have to wait aside. */
class AdvertiserBlocked extends Error {}
