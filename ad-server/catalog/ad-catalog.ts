import { readFileSync, statSync } from 'node:fs';
import { rename, rm, utimes, writeFile } from 'node:fs/promises';
import { errorCode, errorMessage } from '../../common/errors.ts';
import { type Client, createClient } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { ID_MAX } from '../../contract/click-event.ts';
import { ADS_CHANGED_CHANNEL } from '../../ledger/ads-changed.ts';
import { type CatalogAd, readAdsOfAdvertisers, readCatalogPage } from '../../ledger/catalog-ads.ts';

/** How long changes gather before they are read: one read serves a burst of them. */
const GATHER_MS = 20;
/** Most advertisers read one by one; with more, everything is read anew. */
const CHANGED_MAX = 500;
/** Longest wait for an answer of the database, in ms; then the connection is taken for dead. */
const QUERY_MS_MAX = 10_000;
const END_MS_MAX = 1_000;
/** Ads read at once: a page takes a millisecond or two, so that a large catalog never holds up a redirect. */
const PAGE_ADS = 1_000;
/** The first line of the copy on disk. */
const SNAPSHOT_HEADER = 'TOLLWAY AD CATALOG 1';

export type AdCatalogOptions = {
  readonly databaseUrl: string;
  /** The file that keeps the last good copy. */
  readonly snapshotPath: string;
  readonly pollMs: number;
  readonly ageWarnMs: number;
};

/**
 * All ads, in memory, so that no redirect asks the database.
 *
 * Kept fresh by `LISTEN`, with polling as the net under it. Loses the database: serves what it knows, reconnects for as
 * long as it takes, and reads everything anew. Starts without the database: serves the copy on disk.
 */
export class AdCatalog {
  private ads = new Map<number, CatalogAd>();
  /** When the catalog was last known to be true, on the clock of `performance.now()`, or `null` while there is none. */
  private trueAt: number | null = null;
  private readonly options: AdCatalogOptions;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly reading: ThrottledLog;
  private readonly keeping: ThrottledLog;
  private readonly aging: ThrottledLog;
  private readonly stop = new AbortController();
  private readonly changed = new Set<number>();
  private wake: () => void = () => {};
  private running: Promise<void> = Promise.resolve();
  private snapshotText = '';

  constructor(options: AdCatalogOptions, deps: { metrics: Metrics; logger: Logger }) {
    this.options = options;
    this.metrics = deps.metrics;
    this.logger = deps.logger;
    this.reading = new ThrottledLog(deps.logger, {
      failed: 'The ad catalog cannot be read; redirects go on with the ads known so far',
      recovered: 'The ad catalog is read again',
    });
    this.keeping = new ThrottledLog(deps.logger, {
      failed:
        'The ad catalog cannot be saved to disk. If the ad server restarts without the database, it uses an older catalog',
      recovered: 'The ad catalog is saved to disk again',
    });
    this.aging = new ThrottledLog(deps.logger, {
      failed: 'The ad catalog is old: prices and pauses may be stale. Check the connection to the database',
      recovered: 'The ad catalog is up to date again',
    });
  }

  get(adId: number): CatalogAd | undefined {
    return this.ads.get(adId);
  }

  get size(): number {
    return this.ads.size;
  }

  /** Time since the catalog was last known to be true, in ms, or `null` while there is none. */
  ageMs(nowMs = performance.now()): number | null {
    return this.trueAt === null ? null : nowMs - this.trueAt;
  }

  /** Loads the copy on disk, if there is one, and keeps itself fresh from now on. Does not wait for the database. */
  start(): void {
    this.loadSnapshot();
    this.running = this.keepFresh();
  }

  async close(): Promise<void> {
    this.stop.abort();
    this.wake();
    await this.running;
  }

  private async keepFresh(): Promise<void> {
    for (let failures = 0; !this.stop.signal.aborted; ) {
      const client = createClient(this.options.databaseUrl, 'ad catalog', QUERY_MS_MAX);
      let ended = false;
      const end = () => {
        ended = true;
        this.wake();
      };
      client.on('error', end);
      client.on('end', end);
      client.on('notification', ({ payload }) => {
        const advertiserId = Number(payload);
        if (!Number.isInteger(advertiserId) || advertiserId < 1 || advertiserId > ID_MAX) return;
        this.changed.add(advertiserId);
        this.wake();
      });
      try {
        await client.connect();
        await client.query(`listen ${ADS_CHANGED_CHANNEL}`);
        await this.follow(
          client,
          () => ended || this.stop.signal.aborted,
          () => {
            failures = 0;
            this.reading.recover();
          },
        );
      } catch (error) {
        this.reading.fail({ problem: errorMessage(error) });
      } finally {
        this.metrics.databaseUp.set(0);
        // A connection that died in silence would not even say good-bye.
        await Promise.race([client.end().catch(() => {}), sleep(END_MS_MAX)]);
      }
      failures += 1;
      await sleep(backoffMs(failures), this.stop.signal);
    }
  }

  /** Reads everything, then what changes, until the connection or the process ends. */
  private async follow(client: Client, over: () => boolean, onRead: () => void): Promise<void> {
    let pollAt = Number.NEGATIVE_INFINITY;
    while (!over()) {
      const changed = [...this.changed];
      this.changed.clear();
      const readAt = performance.now();
      if (readAt >= pollAt || changed.length > CHANGED_MAX) {
        await this.readAll(client);
        pollAt = readAt + this.options.pollMs;
      } else if (changed.length > 0) await this.readAdvertisers(client, changed);
      this.trueAt = readAt;
      this.metrics.databaseUp.set(1);
      onRead();
      await this.waitForChange(over, pollAt - performance.now());
      await sleep(GATHER_MS, this.stop.signal);
    }
  }

  private async readAll(client: Client): Promise<void> {
    const ads = new Map<number, CatalogAd>();
    const lines = [SNAPSHOT_HEADER];
    for (let after = 0; ; ) {
      const rows = await readCatalogPage(client, after, PAGE_ADS);
      for (const row of rows) {
        ads.set(row.id, row);
        lines.push(JSON.stringify(row));
        after = row.id;
      }
      if (rows.length < PAGE_ADS) break;
    }
    this.ads = ads;
    await this.saveSnapshot(lines.join('\n'));
  }

  private async readAdvertisers(client: Client, ids: readonly number[]): Promise<void> {
    for (const row of await readAdsOfAdvertisers(client, ids)) this.ads.set(row.id, row);
  }

  /** Resolves when something has changed, or at the latest after `ms`. */
  private waitForChange(over: () => boolean, ms: number): Promise<void> {
    if (this.changed.size > 0 || over()) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.wake = () => {};
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, ms));
      this.wake = done;
    });
  }

  /** Warns while the catalog is older than it should be. */
  warnIfOld(): void {
    const ageMs = this.ageMs();
    if (ageMs === null) return;
    if (ageMs > this.options.ageWarnMs) this.aging.fail({ ageSeconds: Math.round(ageMs / 1_000) });
    else this.aging.recover();
  }

  /** Keeps the last good copy; its time of change says when it was last true. */
  private async saveSnapshot(text: string): Promise<void> {
    const { snapshotPath } = this.options;
    try {
      if (text === this.snapshotText) {
        const now = new Date();
        await utimes(snapshotPath, now, now);
        this.keeping.recover();
        return;
      }
      // Not the process id: two containers on one volume may have the same.
      const temporary = `${snapshotPath}.${uuidV7()}`;
      try {
        await writeFile(temporary, text, { mode: 0o600 });
        await rename(temporary, snapshotPath);
      } catch (error) {
        // On a full disk a part of it would keep room that the spool is short of.
        await rm(temporary, { force: true });
        throw error;
      }
      this.snapshotText = text;
      this.keeping.recover();
    } catch (error) {
      this.snapshotText = '';
      this.keeping.fail({ problem: errorMessage(error) });
    }
  }

  private loadSnapshot(): void {
    const { snapshotPath } = this.options;
    try {
      const [header, ...lines] = readFileSync(snapshotPath, 'utf8').split('\n');
      if (header !== SNAPSHOT_HEADER) throw new Error(`Expected "${SNAPSHOT_HEADER}" in ${snapshotPath}`);
      const ads = lines.map((line) => asCatalogAd(JSON.parse(line)));
      this.ads = new Map(ads.map((ad) => [ad.id, ad]));
      // A time in the future says nothing about the age: the clock was set back since.
      this.trueAt = performance.now() - Math.max(0, Date.now() - statSync(snapshotPath).mtimeMs);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      this.logger.warn(
        { problem: errorMessage(error) },
        'The ad catalog on disk cannot be read and is ignored',
      );
    }
  }
}

/** An ad of the copy on disk. Throws on anything that is none. */
function asCatalogAd(value: unknown): CatalogAd {
  // Every field is looked at before it is believed.
  const ad = (typeof value === 'object' && value !== null ? value : {}) as Record<keyof CatalogAd, unknown>;
  const isAd =
    [ad.id, ad.campaignId, ad.advertiserId, ad.priceMicros].every((field) => Number.isSafeInteger(field)) &&
    typeof ad.urlTemplate === 'string' &&
    typeof ad.paused === 'boolean' &&
    typeof ad.budgetExhausted === 'boolean' &&
    (ad.fallbackUrl === null || typeof ad.fallbackUrl === 'string');
  if (!isAd) throw new Error(`Expected an ad, got ${JSON.stringify(value).slice(0, 200)}`);
  return ad as CatalogAd;
}
