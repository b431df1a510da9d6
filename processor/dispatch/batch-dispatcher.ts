import pLimit, { type LimitFunction } from 'p-limit';
import type { BatchSink } from '../../brokers/event-source.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import { copyRecord, type ReadRecord } from '../../contract/click-event.ts';
import { BatchSettler, type SettlerOptions } from './batch-settler.ts';
import { BlockedAdvertisers } from './blocked-advertisers.ts';
import { Capacity } from './capacity.ts';
import { CommitProbes } from './commit-probes.ts';
import { openSubmission, type Share, settleShare, stopped } from './submission.ts';

export type DispatcherOptions = SettlerOptions & {
  /** Maximum number of records that the handler gets in one batch, ≥ 1. */
  readonly batchSize: number;
  /** Number of batches that are settled at the same time, ≥ 1. */
  readonly lanes: number;
};

/** Limits of what is accepted and not yet settled: full batches for each lane, and bytes. */
const BATCHES_AHEAD = 2;
const BYTES_MAX = 33_554_432;
/**
 * Limits of the clicks that are set aside because their advertiser is locked. When one is reached the dispatcher accepts nothing more
 * until a lock is released: the backlog grows in the broker, and readiness gives the reason.
 */
const ASIDE_MAX = { records: 20_000, bytes: 33_554_432 };

type Lane = { readonly name: string; readonly limit: LimitFunction; readonly queue: Share[] };

/**
 * Passes records from event sources to the handler. Clicks are assigned to lanes by advertiser, and each lane settles one batch at a
 * time, so two transactions never wait for the same advertiser's lock. While a lane settles one batch, its queue collects the next from
 * all sources: batches grow with the load, up to `batchSize`.
 *
 * The clicks of an advertiser whose row another session keeps locked are set aside in their order, and the others go on (see
 * `BlockedAdvertisers`). They stay unsettled, so no checkpoint passes them. What happens to a batch that fails is in `retry-policy.ts`.
 */
export class BatchDispatcher implements BatchSink {
  private readonly options: DispatcherOptions;
  private readonly lanes: readonly Lane[];
  private readonly stop = new AbortController();
  private readonly capacity: Capacity;
  private readonly probes = new CommitProbes();
  private readonly settler: BatchSettler;
  private readonly locked: BlockedAdvertisers<Share>;

  constructor(
    pool: Pool,
    options: DispatcherOptions,
    deps: { metrics: Metrics; logger: Logger; onInvariant: (error: unknown) => void },
  ) {
    this.options = options;
    const { batchSize, lanes } = options;
    this.capacity = new Capacity({ records: batchSize * lanes * BATCHES_AHEAD, bytes: BYTES_MAX }, ASIDE_MAX);
    this.locked = new BlockedAdvertisers<Share>(pool, {
      logger: deps.logger,
      stopping: this.stop.signal,
      onUnlocked: (shares, advertiserId) => this.resume(shares, advertiserId),
    });
    const { probes, locked } = this;
    this.settler = new BatchSettler(pool, options, { ...deps, probes, locked, stop: this.stop.signal });
    this.lanes = Array.from({ length: lanes }, (_, index) => ({
      name: `settlement in lane ${index + 1} of ${lanes}`,
      limit: pLimit(1),
      queue: [],
    }));
  }

  readonly waitForCapacity: BatchSink['waitForCapacity'] = (signal) =>
    this.capacity.wait(signal, this.stop.signal);

  readonly submit: BatchSink['submit'] = (records, signal, options) => {
    if (records.length === 0) return Promise.resolve();
    const { submission, done } = openSubmission(records.length, signal, options);
    if (signal?.aborted || this.stop.signal.aborted) {
      submission.end(stopped());
      return done;
    }
    this.capacity.accept(records);
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

  readonly unlockedCount = (): number => this.locked.unlockedCount;

  readonly commitProbes: BatchSink['commitProbes'] = () => this.probes.list();

  readonly forget: BatchSink['forget'] = (commitProbes) => this.probes.forget(commitProbes);

  /** Clicks of locked advertisers that are set aside. */
  get clicksAside(): number {
    return this.capacity.recordsAside;
  }

  /** Why clicks are not settled; empty if nothing blocks them. */
  get problems(): readonly Problem[] {
    return [...this.settler.problems, ...this.locked.problems];
  }

  /** Why the latest attempt to settle a batch failed; `null` after a successful one. */
  get lastFailure(): string | null {
    return this.settler.lastFailure;
  }

  /** Ends every retry. A transaction that is in progress can still commit. */
  abort(): void {
    this.stop.abort();
    for (const { submission } of this.locked.remove(() => true)) submission.end(stopped());
  }

  private laneOf(record: ReadRecord): number {
    return record.is === 'click' ? record.click.advertiserId % this.lanes.length : 0;
  }

  /** Schedules the next batch of a lane behind the one that is being settled. */
  private work(lane: Lane): void {
    if (lane.limit.pendingCount === 0) void lane.limit(() => this.settleNext(lane));
  }

  /** Settles the next batch of a lane. The queue can be empty by now, if its shares went into an earlier batch. */
  private async settleNext(lane: Lane): Promise<void> {
    const shares = this.nextShares(lane);
    const [first] = shares;
    if (!first) return;
    const batch = shares.length === 1 ? first.records : shares.flatMap(({ records }) => records);
    try {
      const result = await this.settler.settle(batch, {
        name: lane.name,
        isAbandoned: () => shares.every(({ submission }) => submission.ended),
        hasOthers: () => lane.queue.length > 0,
        settleOthers: () => this.settleNext(lane),
      });
      if (result === 'advertiser locked') {
        // The next attempt leaves out the clicks of that advertiser. Records that are settled already become duplicates.
        lane.queue.unshift(...shares);
      } else {
        this.capacity.release(batch);
        for (const { submission, records } of shares) settleShare(submission, records.length);
      }
    } catch (error) {
      this.capacity.release(batch);
      for (const { submission } of shares) submission.end(error);
    }
    if (lane.queue.length > 0) this.work(lane);
  }

  /** Takes at most `batchSize` records from the queue of a lane. Drops shares whose submission has ended. */
  private nextShares(lane: Lane): Share[] {
    const shares: Share[] = [];
    let wanted = this.options.batchSize;
    for (let share = lane.queue.shift(); share; share = lane.queue.shift()) {
      const { submission } = share;
      if (submission.ended) {
        this.capacity.release(share.records);
        continue;
      }
      const records = this.locked.size === 0 ? share.records : this.withoutLocked(share);
      if (records.length === 0) continue;
      shares.push({ submission, records: records.slice(0, wanted) });
      if (records.length > wanted) lane.queue.unshift({ submission, records: records.slice(wanted) });
      wanted -= Math.min(wanted, records.length);
      if (wanted === 0) break;
    }
    return shares;
  }

  /** Sets the clicks of locked advertisers aside, or abandons them if the submission says so. Returns the other records. */
  private withoutLocked({ submission, records }: Share): readonly ReadRecord[] {
    if (this.stop.signal.aborted) {
      submission.end(stopped());
      this.capacity.release(records);
      return [];
    }
    const others: ReadRecord[] = [];
    const lockedClicks = new Map<number, ReadRecord[]>();
    for (const record of records) {
      const advertiserId = record.is === 'click' ? record.click.advertiserId : null;
      if (advertiserId === null || !this.locked.has(advertiserId)) others.push(record);
      else lockedClicks.set(advertiserId, [...(lockedClicks.get(advertiserId) ?? []), record]);
    }
    for (const [advertiserId, clicks] of lockedClicks) {
      if (submission.abandoned === null) this.setAside(advertiserId, { submission, records: clicks });
      else {
        this.capacity.release(clicks);
        submission.abandoned += clicks.length;
        settleShare(submission, 0);
      }
    }
    this.dropEndedAside();
    return others;
  }

  private setAside(advertiserId: number, { submission, records }: Share): void {
    // Copies, because the bytes of a click can be a small slice of a large buffer, which they would keep in memory.
    const copies = records.map(copyRecord);
    this.capacity.setAside(copies);
    this.locked.hold(advertiserId, { submission, records: copies });
  }

  /** Releases what was set aside for submissions that have ended. */
  private dropEndedAside(): void {
    for (const { records } of this.locked.remove(({ submission }) => submission.ended))
      this.capacity.releaseAside(records);
  }

  /** Puts clicks that were set aside at the front of their lane's queue. */
  private resume(shares: Share[], advertiserId: number): void {
    for (const { records } of shares) this.capacity.resume(records);
    const lane = this.lanes[advertiserId % this.lanes.length];
    if (!lane) return;
    lane.queue.unshift(...shares);
    this.work(lane);
  }
}
