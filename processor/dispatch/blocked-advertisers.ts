import { errorCode, errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Problem } from '../../common/telemetry/problems.ts';
import type { ReadClick, ReadRecord } from '../../contract/click-event.ts';
import { type BlockReason, findBlockedAdvertisers } from '../../ledger/blocked-advertisers.ts';

/** Errors of a charge that is blocked: SQLSTATE lock_not_available, a lock was not granted in time; and a time zone that the server does not know. */
const BLOCKING = new Set(['55P03', 'bad_time_zone']);
/** Time between two checks whether an advertiser is still blocked, in ms. */
const PROBE_MS = 1_000;
/** Time between the two checks that find the blocked advertisers, in ms. A charge of another processor ends in less. */
const SECOND_CHECK_MS = 100;
/** Maximum number of advertisers that `problems` names. */
const NAMED_MAX = 10;

const PROBLEMS: Readonly<Record<BlockReason, string>> = {
  locked: 'another session keeps their rows locked, so their clicks wait',
  'time zone': 'the database server does not know their time zone, so their clicks wait',
};

type Blocked<Waiting> = {
  readonly click: ReadClick;
  readonly reason: BlockReason;
  readonly sinceMs: number;
  waiting: Waiting[];
};

/**
 * The advertisers whose rows (of the advertiser, its campaigns or its ads) another session keeps locked, as an idle `psql` can for hours, and
 * those whose daily caps cannot be computed, because the database was moved to a server that lacks their time zone.
 * Holds their clicks so that the clicks of other advertisers are charged. Checks once a second, without waiting for any lock, whether
 * they are still blocked, and then returns the clicks by `onUnlocked`.
 *
 * Queries the database only after a charge was blocked, so the usual path has no cost.
 */
export class BlockedAdvertisers<Waiting> {
  private readonly pool: Pool;
  private readonly logger: Logger;
  private readonly stopping: AbortSignal;
  private readonly onUnlocked: (waiting: Waiting[], advertiserId: number) => void;
  private readonly blocked = new Map<number, Blocked<Waiting>>();
  private isProbing = false;
  /** How many times a blocked advertiser was unblocked. */
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
    return this.blocked.size;
  }

  get ids(): number[] {
    return [...this.blocked.keys()];
  }

  has(advertiserId: number): boolean {
    return this.blocked.has(advertiserId);
  }

  /** The blocked advertisers as one problem for each reason. */
  get problems(): readonly Problem[] {
    return (['locked', 'time zone'] as const).flatMap((reason) => {
      const blocked = [...this.blocked].filter(([, advertiser]) => advertiser.reason === reason);
      if (blocked.length === 0) return [];
      const named = blocked
        .slice(0, NAMED_MAX)
        .map(([id]) => id)
        .join(', ');
      const more = blocked.length > NAMED_MAX ? ` and ${blocked.length - NAMED_MAX} more` : '';
      const noun = blocked.length === 1 ? 'advertiser' : 'advertisers';
      const sinceMs = Math.min(...blocked.map(([, advertiser]) => advertiser.sinceMs));
      const what = `settlement for ${noun} ${named}${more}`;
      return [{ what, reason: PROBLEMS[reason], forMs: performance.now() - sinceMs }];
    });
  }

  /**
   * Whether the charge of `batch` failed because an advertiser is blocked. Marks those advertisers as blocked; the rest of the batch can be
   * settled again.
   */
  async detect(error: unknown, batch: readonly ReadRecord[]): Promise<boolean> {
    if (!BLOCKING.has(errorCode(error) ?? '')) return false;
    const clicks = batch.flatMap((record) => (record.is === 'click' ? record : []));
    const found = await this.findBlocked(clicks);
    if (found.size > 0) await sleep(SECOND_CHECK_MS, this.stopping);
    const still = await this.findBlocked(clicks.filter(({ click }) => found.has(click.advertiserId)));
    for (const record of clicks) {
      const reason = still.get(record.click.advertiserId);
      if (reason !== undefined && !this.blocked.has(record.click.advertiserId)) this.block(record, reason);
    }
    if (this.blocked.size > 0 && !this.isProbing) void this.probe();
    return still.size > 0;
  }

  private block(click: ReadClick, reason: BlockReason): void {
    const { advertiserId } = click.click;
    this.blocked.set(advertiserId, { click, reason, sinceMs: performance.now(), waiting: [] });
    if (reason === 'locked')
      this.logger.warn(
        { advertiser: advertiserId },
        `Another session keeps a row of advertiser ${advertiserId} locked. Its clicks wait; all others are charged. ` +
          'End that session: select pid, state, query from pg_stat_activity',
      );
    else
      this.logger.warn(
        { advertiser: advertiserId },
        `The database server does not know the time zone of advertiser ${advertiserId}, which has a daily cap. Its clicks wait; all others are charged. ` +
          'Install the time zones that the server lacks (Debian and Ubuntu: tzdata-legacy)',
      );
  }

  /** Holds clicks of a blocked advertiser until it is unblocked. */
  hold(advertiserId: number, waiting: Waiting): void {
    this.blocked.get(advertiserId)?.waiting.push(waiting);
  }

  /** Removes and returns what matches. */
  remove(matches: (waiting: Waiting) => boolean): Waiting[] {
    const removed: Waiting[] = [];
    for (const advertiser of this.blocked.values()) {
      const matching = advertiser.waiting.filter(matches);
      if (matching.length === 0) continue;
      removed.push(...matching);
      advertiser.waiting = advertiser.waiting.filter((waiting) => !matches(waiting));
    }
    return removed;
  }

  private async probe(): Promise<void> {
    this.isProbing = true;
    while (this.blocked.size > 0) {
      await sleep(PROBE_MS, this.stopping);
      if (this.stopping.aborted) return;
      const still = await this.findBlocked(
        [...this.blocked.values()].map(({ click }) => click),
        'all',
      );
      for (const [advertiserId, { sinceMs, waiting }] of this.blocked) {
        if (still.has(advertiserId)) continue;
        this.blocked.delete(advertiserId);
        this.unlockedCount += 1;
        const seconds = Math.round((performance.now() - sinceMs) / 1_000);
        this.logger.warn(
          { advertiser: advertiserId, seconds },
          `Advertiser ${advertiserId} is no longer blocked; its clicks are charged`,
        );
        this.onUnlocked(waiting, advertiserId);
      }
    }
    this.isProbing = false;
  }

  /**
   * The advertisers of `clicks` that are blocked now. Waits for no row lock. If the query fails, returns `onError`: all of the advertisers or
   * none.
   */
  private async findBlocked(
    clicks: readonly ReadClick[],
    onError: 'all' | 'none' = 'none',
  ): Promise<ReadonlyMap<number, BlockReason>> {
    if (clicks.length === 0) return new Map();
    try {
      return await findBlockedAdvertisers(this.pool, clicks);
    } catch (error) {
      this.logger.debug({ problem: errorMessage(error) }, 'The query for blocked advertisers failed');
      return new Map(onError === 'all' ? clicks.map(({ click }) => [click.advertiserId, 'locked']) : []);
    }
  }
}
