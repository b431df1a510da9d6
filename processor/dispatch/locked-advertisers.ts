import { errorCode, errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import type { ReadClick, ReadRecord } from '../../contract/click-event.ts';
import { findLockedAdvertisers } from '../../ledger/charge/find-locked-advertisers.ts';

/** SQLSTATE lock_not_available: a lock was not granted in time. */
const LOCK_NOT_AVAILABLE = '55P03';
/** Time between two checks whether a lock is released, in ms. */
const PROBE_MS = 1_000;
/** Time between the two checks that find the locked advertisers, in ms. A charge of another processor ends in less. */
const SECOND_CHECK_MS = 100;
/** Maximum number of advertisers that `problems` names. */
const NAMED_MAX = 10;

type LockedAdvertiser<Waiting> = {
  /** The id of the advertiser and its name, such as `3 (Blue Shoes)`. */
  readonly named: string;
  readonly click: ReadClick;
  readonly sinceMs: number;
  waiting: Waiting[];
};

/**
 * The advertisers whose rows (of the advertiser, its campaigns or its ads) another session keeps locked, as an idle `psql` can for hours.
 * Holds their clicks so that the clicks of other advertisers are charged. Checks once a second, without waiting for any lock, whether
 * the rows are unlocked, and then returns the clicks by `onUnlocked`.
 *
 * Queries the database only after a charge has timed out on a lock, so the usual path has no cost.
 */
export class LockedAdvertisers<Waiting> {
  private readonly pool: Pool;
  private readonly logger: Logger;
  private readonly stopping: AbortSignal;
  private readonly onUnlocked: (waiting: Waiting[], advertiserId: number) => void;
  private readonly advertisers = new Map<number, LockedAdvertiser<Waiting>>();
  private isProbing = false;
  /** How many times the rows of a locked advertiser were unlocked. */
  unlockedCount = 0;

  constructor(
    pool: Pool,
    deps: {
      logger: Logger;
      stopping: AbortSignal;
      onUnlocked: (waiting: Waiting[], advertiserId: number) => void;
    },
  ) {
    this.pool = pool;
    this.logger = deps.logger;
    this.stopping = deps.stopping;
    this.onUnlocked = deps.onUnlocked;
  }

  get size(): number {
    return this.advertisers.size;
  }

  get ids(): number[] {
    return [...this.advertisers.keys()];
  }

  has(advertiserId: number): boolean {
    return this.advertisers.has(advertiserId);
  }

  /** The locked advertisers as one problem, or an empty list. */
  get problems(): readonly Problem[] {
    if (this.advertisers.size === 0) return [];
    const named = [...this.advertisers.values()]
      .slice(0, NAMED_MAX)
      .map((advertiser) => advertiser.named)
      .join(', ');
    const more = this.advertisers.size > NAMED_MAX ? ` and ${this.advertisers.size - NAMED_MAX} more` : '';
    const noun = this.advertisers.size === 1 ? 'advertiser' : 'advertisers';
    const sinceMs = Math.min(...[...this.advertisers.values()].map((advertiser) => advertiser.sinceMs));
    const reason = 'another session keeps their rows locked, so their clicks wait';
    return [{ what: `settlement for ${noun} ${named}${more}`, reason, forMs: performance.now() - sinceMs }];
  }

  /**
   * Whether the charge of `batch` failed because rows of an advertiser are locked. Notes those advertisers; the rest of the
   * batch can be settled again.
   */
  async detect(error: unknown, batch: readonly ReadRecord[]): Promise<boolean> {
    if (errorCode(error) !== LOCK_NOT_AVAILABLE) return false;
    const clicks = batch.flatMap((record) => (record.is === 'click' ? record : []));
    const locked = await this.findLocked(clicks);
    if (locked.size > 0) await sleep(SECOND_CHECK_MS, this.stopping);
    const still = await this.findLocked(clicks.filter(({ click }) => locked.has(click.advertiserId)));
    for (const record of clicks) {
      const { advertiserId } = record.click;
      const name = still.get(advertiserId);
      if (name === undefined || this.advertisers.has(advertiserId)) continue;
      const named = `${advertiserId} (${name})`;
      this.advertisers.set(advertiserId, { named, click: record, sinceMs: performance.now(), waiting: [] });
      this.logger.warn(
        { advertiser: advertiserId },
        `Another session keeps a row of advertiser ${named} locked. Its clicks wait; all others are charged. ` +
          'End that session: docs/runbook.md#tollwaysettlementblocked',
      );
    }
    if (this.advertisers.size > 0 && !this.isProbing) void this.probe();
    return still.size > 0;
  }

  /** Holds clicks of a locked advertiser until its rows are unlocked. */
  hold(advertiserId: number, waiting: Waiting): void {
    this.advertisers.get(advertiserId)?.waiting.push(waiting);
  }

  /** Removes and returns what matches. */
  remove(matches: (waiting: Waiting) => boolean): Waiting[] {
    const removed: Waiting[] = [];
    for (const advertiser of this.advertisers.values()) {
      const matching = advertiser.waiting.filter(matches);
      if (matching.length === 0) continue;
      removed.push(...matching);
      advertiser.waiting = advertiser.waiting.filter((waiting) => !matches(waiting));
    }
    return removed;
  }

  private async probe(): Promise<void> {
    this.isProbing = true;
    while (this.advertisers.size > 0) {
      await sleep(PROBE_MS, this.stopping);
      if (this.stopping.aborted) return;
      const locked = await this.findLocked(
        [...this.advertisers.values()].map(({ click }) => click),
        'all',
      );
      for (const [advertiserId, { named, sinceMs, waiting }] of this.advertisers) {
        if (locked.has(advertiserId)) continue;
        this.advertisers.delete(advertiserId);
        this.unlockedCount += 1;
        const seconds = Math.round((performance.now() - sinceMs) / 1_000);
        this.logger.warn(
          { advertiser: advertiserId, seconds },
          `The rows of advertiser ${named} are no longer locked; its clicks are charged`,
        );
        this.onUnlocked(waiting, advertiserId);
      }
    }
    this.isProbing = false;
  }

  /**
   * The advertisers of `clicks` that have a locked row now. Waits for no row lock. If the query fails, returns `onError`: all of the
   * advertisers or none.
   */
  private async findLocked(
    clicks: readonly ReadClick[],
    onError: 'all' | 'none' = 'none',
  ): Promise<ReadonlyMap<number, string>> {
    if (clicks.length === 0) return new Map();
    try {
      return await findLockedAdvertisers(this.pool, clicks);
    } catch (error) {
      this.logger.debug({ problem: errorMessage(error) }, 'The query for locked advertisers failed');
      return new Map(onError === 'all' ? clicks.map(({ click }) => [click.advertiserId, '']) : []);
    }
  }
}
