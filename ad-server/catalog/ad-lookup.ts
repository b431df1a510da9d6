import QuickLRU from 'quick-lru';
import { elapsedMs, type Moment, moment } from '../../common/elapsed.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { type CatalogAd, readCatalogAd } from '../../ledger/accounts/catalog-ads.ts';

/** Maximum cached ads, up to twice as many for a while. With more, those that were used longest ago are dropped. */
const ADS_MAX = 20_000;

/**
 * Reads single ads on request and caches them. A function uses this in place of the catalog, which needs a connection that listens. While the
 * database is down, cached ads are used for as long as the outage lasts.
 */
export class AdLookup {
  private readonly pool: Pool;
  private readonly freshMs: number;
  private readonly cached = new QuickLRU<number, { ad: CatalogAd; at: Moment }>({ maxSize: ADS_MAX });
  /** Time of the last failed read; `null` if there was none. */
  private failedAt: Moment | null = null;

  constructor(pool: Pool, freshMs: number) {
    this.pool = pool;
    this.freshMs = freshMs;
  }

  /** Reads an ad into the cache unless its entry is younger than `freshMs`. Removes an ad that does not exist. Throws what `pg` throws. */
  async refresh(adId: number): Promise<void> {
    const cached = this.cached.get(adId);
    const at = moment();
    if (cached !== undefined && this.isFresh(cached.at)) return;
    const ad = await readCatalogAd(this.pool, adId);
    if (ad === undefined) this.cached.delete(adId);
    else this.cached.set(adId, { ad, at });
  }

  /** Extends the time to live of all entries: while the database is down, clicks do not each wait for a timeout. */
  extendTtl(): void {
    this.failedAt = moment();
  }

  private isFresh(at: Moment): boolean {
    const { failedAt, freshMs } = this;
    return elapsedMs(at) < freshMs || (failedAt !== null && elapsedMs(failedAt) < freshMs);
  }

  /** A cached ad, whatever its age. */
  get(adId: number): CatalogAd | undefined {
    return this.cached.get(adId)?.ad;
  }
}
