import { elapsedMs, type Moment, moment } from '../../common/elapsed.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { type CatalogAd, readCatalogAd } from '../../ledger/catalog-ads.ts';

/** Most ads that are remembered; with more, those that were asked for longest ago are forgotten. */
const ADS_MAX = 20_000;

/**
 * Reads single ads on request and caches them. A function uses this in place of the catalog, which needs a connection that listens. While the
 * database is down, cached ads are used for as long as the outage lasts.
 */
export class AdLookup {
  private readonly pool: Pool;
  private readonly freshMs: number;
  private readonly known = new Map<number, { ad: CatalogAd; at: Moment }>();
  /** When the database was last found away; `null`: never. */
  private awayAt: Moment | null = null;

  constructor(pool: Pool, freshMs: number) {
    this.pool = pool;
    this.freshMs = freshMs;
  }

  /** Makes sure that `get` knows an ad, if there is one, as it was a while ago at most. Throws what `pg` throws. */
  async refresh(adId: number): Promise<void> {
    const known = this.known.get(adId);
    const askedAt = moment();
    if (known !== undefined && this.isFresh(known.at)) return;
    const ad = await readCatalogAd(this.pool, adId);
    this.known.delete(adId);
    if (ad === undefined) return;
    this.known.set(adId, { ad, at: askedAt });
    const [oldest] = this.known.keys();
    if (this.known.size > ADS_MAX && oldest !== undefined) this.known.delete(oldest);
  }

  /** Extends the time for which every known ad is used: while the database is down, clicks do not each wait for a timeout. */
  extendTtl(): void {
    this.awayAt = moment();
  }

  private isFresh(at: Moment): boolean {
    const { awayAt, freshMs } = this;
    return elapsedMs(at) < freshMs || (awayAt !== null && elapsedMs(awayAt) < freshMs);
  }

  get(adId: number): CatalogAd | undefined {
    return this.known.get(adId)?.ad;
  }
}
