import { errorCode, errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import type { ReadClick, ReadRecord } from '../../contract/click-event.ts';
import { findLockedAdvertisers } from '../../ledger/locked-advertisers.ts';

/** SQLSTATE: a lock was not to be had in time. */
const LOCK_NOT_AVAILABLE = '55P03';
/** Time between two looks at whether a lock is gone, in ms. */
const PROBE_MS = 1_000;
/** Time between the two looks that find out who is locked, in ms: a charge of another processor is over by then. */
const SECOND_LOOK_MS = 100;
/** Advertisers that `problems` names at most. */
const NAMED_MAX = 10;

type Blocked<Waiting> = { readonly click: ReadClick; readonly sinceMs: number; waiting: Waiting[] };

/**
 * The advertisers whose rows (the advertiser's own, a campaign's or an ad's) another session keeps locked, as an open `psql` may for
 * hours. Their clicks wait here, so that the clicks of all others are charged meanwhile. Once a second this looks, without waiting for
 * any lock, whether a row is free again, and hands over what has waited.
 *
 * Looks only after a charge has given up on a lock: the ordinary path asks nothing.
 */
export class BlockedAdvertisers<Waiting> {
  private readonly pool: Pool;
  private readonly logger: Logger;
  private readonly stopping: AbortSignal;
  private readonly onFree: (waiting: Waiting[], advertiserId: number) => void;
  private readonly blocked = new Map<number, Blocked<Waiting>>();
  private isProbing = false;
  /** How often an advertiser has become free again. */
  freed = 0;

  constructor(
    pool: Pool,
    deps: {
      logger: Logger;
      stopping: AbortSignal;
      onFree: (waiting: Waiting[], advertiserId: number) => void;
    },
  ) {
    this.pool = pool;
    this.logger = deps.logger;
    this.stopping = deps.stopping;
    this.onFree = deps.onFree;
  }

  get size(): number {
    return this.blocked.size;
  }

  get ids(): number[] {
    return [...this.blocked.keys()];
  }

  has(advertiserId: number): boolean {
    return this.blocked.has(advertiserId);
  }

  /** The blocked advertisers as one problem, or none. */
  get problems(): readonly Problem[] {
    if (this.blocked.size === 0) return [];
    const named = this.ids.slice(0, NAMED_MAX).join(', ');
    const more = this.blocked.size > NAMED_MAX ? ` and ${this.blocked.size - NAMED_MAX} more` : '';
    const who = this.blocked.size === 1 ? 'advertiser' : 'advertisers';
    const sinceMs = Math.min(...[...this.blocked.values()].map((one) => one.sinceMs));
    const reason = 'another session keeps rows of them locked, so their clicks wait';
    return [{ what: `settlement for ${who} ${named}${more}`, reason, forMs: performance.now() - sinceMs }];
  }

  /**
   * After `error` has ended the charge of `batch`: whether it gave up on the row of some advertiser. Those are blocked from now on, and
   * the rest of the batch can be tried again.
   */
  async explains(error: unknown, batch: readonly ReadRecord[]): Promise<boolean> {
    if (errorCode(error) !== LOCK_NOT_AVAILABLE) return false;
    const clicks = batch.flatMap((record) => (record.is === 'click' ? record : []));
    const locked = await this.findLocked(clicks);
    if (locked.size > 0) await sleep(SECOND_LOOK_MS, this.stopping);
    const still = await this.findLocked(clicks.filter(({ click }) => locked.has(click.advertiserId)));
    for (const record of clicks) {
      const { advertiserId } = record.click;
      if (!still.has(advertiserId) || this.blocked.has(advertiserId)) continue;
      this.blocked.set(advertiserId, { click: record, sinceMs: performance.now(), waiting: [] });
      this.logger.warn(
        { advertiser: advertiserId },
        `Another session keeps a row of advertiser ${advertiserId} locked: its clicks wait, all others are charged. ` +
          'End that session: select pid, state, query from pg_stat_activity',
      );
    }
    if (this.blocked.size > 0 && !this.isProbing) void this.probe();
    return still.size > 0;
  }

  /** Keeps something of a blocked advertiser until it is free. */
  wait(advertiserId: number, waiting: Waiting): void {
    this.blocked.get(advertiserId)?.waiting.push(waiting);
  }

  /** Takes out what waits in vain. */
  drop(isInVain: (waiting: Waiting) => boolean): Waiting[] {
    const dropped: Waiting[] = [];
    for (const one of this.blocked.values()) {
      const inVain = one.waiting.filter(isInVain);
      if (inVain.length === 0) continue;
      dropped.push(...inVain);
      one.waiting = one.waiting.filter((waiting) => !isInVain(waiting));
    }
    return dropped;
  }

  private async probe(): Promise<void> {
    this.isProbing = true;
    while (this.blocked.size > 0) {
      await sleep(PROBE_MS, this.stopping);
      if (this.stopping.aborted) return;
      const locked = await this.findLocked(
        [...this.blocked.values()].map(({ click }) => click),
        'all',
      );
      for (const [advertiserId, { sinceMs, waiting }] of this.blocked) {
        if (locked.has(advertiserId)) continue;
        this.blocked.delete(advertiserId);
        this.freed += 1;
        const seconds = Math.round((performance.now() - sinceMs) / 1_000);
        this.logger.warn(
          { advertiser: advertiserId, seconds },
          `The rows of advertiser ${advertiserId} are free again: its clicks are charged`,
        );
        this.onFree(waiting, advertiserId);
      }
    }
    this.isProbing = false;
  }

  /**
   * The advertisers of clicks of which a row is locked now: their own, or those of the clicks' campaigns and ads. Waits for nobody.
   * `otherwise` is the answer where the database gives none.
   */
  private async findLocked(
    clicks: readonly ReadClick[],
    otherwise: 'all' | 'none' = 'none',
  ): Promise<ReadonlySet<number>> {
    if (clicks.length === 0) return new Set();
    try {
      return await findLockedAdvertisers(this.pool, clicks);
    } catch (error) {
      this.logger.debug({ problem: errorMessage(error) }, 'Locked advertisers cannot be looked for');
      return new Set(otherwise === 'all' ? clicks.map(({ click }) => click.advertiserId) : []);
    }
  }
}
