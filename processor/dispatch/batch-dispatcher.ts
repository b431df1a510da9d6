import pLimit, { type LimitFunction } from 'p-limit';
import type { BatchSink } from '../../brokers/event-source.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import { copyRecord, type ReadRecord } from '../../contract/click-event.ts';
import { BatchSettler, type SettlerOptions } from './batch-settler.ts';
import { Capacity } from './capacity.ts';
import { CommitProbes } from './commit-probes.ts';
import { LockedAdvertisers } from './locked-advertisers.ts';
import { openSubmission, type Share, settleShare, stoppingError } from './submission.ts';

export type DispatcherOptions = SettlerOptions & {
  /** Maximum number of records that the handler gets in one batch, ≥ 1. */
  readonly batchSize: number;
  /** Number of batches that are settled at the same time, ≥ 1. */
  readonly lanes: number;
};

/** The largest batch of all lanes together, in records. Above it, two transactions at a time are faster than one. */
const SHARED_MAX = 1_000;
/** Limits of what is accepted and not yet settled: full batches for each lane, and bytes. */
const BATCHES_AHEAD = 2;
const BYTES_MAX = 33_554_432;
/**
 * Limits of the clicks that are set aside because their advertiser is locked. When one is reached the dispatcher accepts nothing more
 * until a lock is released: the backlog grows in the broker, and readiness gives the reason.
 */
const ASIDE_MAX = { records: 20_000, bytes: 33_554_432 };

type Lane = {
  readonly name: string;
  readonly limit: LimitFunction;
  readonly queue: Share[];
  /** Batches that are being settled: more than one while a record that fails lets the next batch pass. */
  settling: number;
};

/** A share of a batch, and the lane to whose queue it belongs. */
type Taken = { readonly share: Share; readonly lane: Lane };

/**
 * Passes records from event sources to the handler. Clicks are assigned to lanes by advertiser, and each lane settles one batch at a
 * time, so two transactions never wait for the same advertiser's lock. While a lane settles one batch, its queue collects the next from
 * all sources: batches grow with the load, up to `batchSize`.
 *
 * While no lane is at work and few records wait, they are tried once as one batch of all lanes: a small transaction costs the same whatever
 * its size, so at low rates the number of transactions decides what a click costs. If the batch fails, each lane settles its own part, so that
 * a click that has to wait delays only its lane.
 *
 * The clicks of an advertiser whose row another session keeps locked are set aside in their order, and the others go on (see
 * `LockedAdvertisers`). They stay unsettled, so no checkpoint passes them. What happens to a batch that fails is in `retry-policy.ts`.
 */
export class BatchDispatcher implements BatchSink {
  private readonly options: DispatcherOptions;
  private readonly lanes: readonly Lane[];
  /** Whether a batch of all lanes is being tried, and whether such a batch failed and none was settled since. */
  private isShared = false;
  private hasSharedFailed = false;
  private readonly stop = new AbortController();
  private readonly capacity: Capacity;
  private readonly probes = new CommitProbes();
  private readonly settler: BatchSettler;
  private readonly locked: LockedAdvertisers<Share>;

  constructor(
    pool: Pool,
    options: DispatcherOptions,
    deps: { metrics: Metrics; logger: Logger; onInvariant: (error: unknown) => void },
  ) {
    this.options = options;
    const { batchSize, lanes } = options;
    this.capacity = new Capacity({ records: batchSize * lanes * BATCHES_AHEAD, bytes: BYTES_MAX }, ASIDE_MAX);
    this.locked = new LockedAdvertisers<Share>(pool, {
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
      settling: 0,
    }));
  }

  readonly waitForCapacity: BatchSink['waitForCapacity'] = (signal) =>
    this.capacity.wait(signal, this.stop.signal);

  readonly submit: BatchSink['submit'] = (records, signal, options) => {
    if (records.length === 0) return Promise.resolve();
    const { submission, done } = openSubmission(records.length, signal, options);
    if (signal?.aborted || this.stop.signal.aborted) {
      submission.end(stoppingError());
      return done;
    }
    this.capacity.accept(records);
    const assigned: ReadRecord[][] = this.lanes.map(() => []);
    for (const record of records) assigned[this.laneOf(record)]?.push(record);
    for (const [index, share] of assigned.entries()) {
      const lane = this.lanes[index];
      if (!lane || share.length === 0) continue;
      lane.queue.push({ submission, records: share });
      this.scheduleNext(lane);
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
    for (const { submission } of this.locked.remove(() => true)) submission.end(stoppingError());
  }

  private laneOf(record: ReadRecord): number {
    return record.is === 'click' ? record.click.advertiserId % this.lanes.length : 0;
  }

  /** Schedules the next batch of a lane behind the one that is being settled. */
  private scheduleNext(lane: Lane): void {
    if (lane.limit.pendingCount === 0) void lane.limit(() => this.settleNext(lane));
  }

  /** Settles the next batch of a lane. The queue can be empty by now, if its shares went into an earlier batch. */
  private async settleNext(lane: Lane): Promise<void> {
    if (this.isShared) return;
    if (this.isOneBatch()) return this.settleForAll(lane.name);
    const taken = this.nextShares([lane]);
    const batch = recordsOf(taken);
    if (batch.length === 0) return;
    lane.settling += 1;
    try {
      const result = await this.settler.settle(batch, {
        name: lane.name,
        isAbandoned: () => taken.every(({ share }) => share.submission.ended),
        hasOthers: () => lane.queue.length > 0,
        settleOthers: () => this.settleNext(lane),
      });
      // The next attempt leaves out the clicks of that advertiser. Records that are settled already become duplicates.
      if (result === 'advertiser locked') putBack(taken);
      else this.settled(taken);
    } catch (error) {
      this.capacity.release(batch);
      for (const { share } of taken) share.submission.end(error);
    }
    lane.settling -= 1;
    this.scheduleAll();
  }

  /** Tries the batch of all lanes once, under the name of the lane that began. */
  private async settleForAll(name: string): Promise<void> {
    const taken = this.nextShares(this.lanes);
    const batch = recordsOf(taken);
    if (batch.length === 0) return;
    this.isShared = true;
    // Until a batch is settled. After a failure, the lanes try their parts: they report and retry what fails.
    this.hasSharedFailed = true;
    const isSettled = await this.settler.tryOnce(batch, name);
    if (isSettled) this.settled(taken);
    else putBack(taken);
    this.isShared = false;
    this.scheduleAll();
  }

  /** Tells the submissions of these shares that they are settled. */
  private settled(taken: readonly Taken[]): void {
    this.hasSharedFailed = false;
    for (const { share } of taken) {
      this.capacity.release(share.records);
      settleShare(share.submission, share.records.length);
    }
  }

  private scheduleAll(): void {
    for (const lane of this.lanes) if (lane.queue.length > 0) this.scheduleNext(lane);
  }

  /** Whether no lane is at work, and the few records that wait belong to several lanes. */
  private isOneBatch(): boolean {
    if (this.hasSharedFailed) return false;
    let records = 0;
    let lanes = 0;
    for (const { queue, settling } of this.lanes) {
      if (settling > 0) return false;
      if (queue.length > 0) lanes += 1;
      for (const share of queue) records += share.records.length;
    }
    return lanes > 1 && records <= Math.min(this.options.batchSize, SHARED_MAX);
  }

  /** Takes at most `batchSize` records from the queues of lanes, without shares whose submission has ended. */
  private nextShares(lanes: readonly Lane[]): Taken[] {
    const taken: Taken[] = [];
    let wanted = this.options.batchSize;
    for (const lane of lanes) {
      const shares = this.takeShares(lane, wanted);
      for (const share of shares) {
        taken.push({ share, lane });
        wanted -= share.records.length;
      }
      if (wanted === 0) break;
    }
    return taken;
  }

  /** Takes at most `most` records from the queue of a lane. */
  private takeShares(lane: Lane, most: number): Share[] {
    const shares: Share[] = [];
    let wanted = most;
    for (let share = lane.queue.shift(); share; share = lane.queue.shift()) {
      const { submission } = share;
      if (submission.ended) {
        this.capacity.release(share.records);
        continue;
      }
      const records = this.locked.size === 0 ? share.records : this.setAsideLocked(share);
      if (records.length === 0) continue;
      shares.push({ submission, records: records.slice(0, wanted) });
      if (records.length > wanted) lane.queue.unshift({ submission, records: records.slice(wanted) });
      wanted -= Math.min(wanted, records.length);
      if (wanted === 0) break;
    }
    return shares;
  }

  /** Sets the clicks of locked advertisers aside, or abandons them if the submission says so. Returns the other records. */
  private setAsideLocked({ submission, records }: Share): readonly ReadRecord[] {
    if (this.stop.signal.aborted) {
      submission.end(stoppingError());
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
    this.scheduleNext(lane);
  }
}

function recordsOf(taken: readonly Taken[]): readonly ReadRecord[] {
  const [first] = taken;
  return first && taken.length === 1 ? first.share.records : taken.flatMap(({ share }) => share.records);
}

/** Puts shares back at the front of the queues of their lanes, in their order. */
function putBack(taken: readonly Taken[]): void {
  for (const { share, lane } of taken.toReversed()) lane.queue.unshift(share);
}
