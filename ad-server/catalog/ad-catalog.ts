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
import { ADS_CHANGED_CHANNEL } from '../../ledger/accounts/ads-changed.ts';
import { type CatalogAd, readAdsOfAdvertisers, readCatalogPage } from '../../ledger/accounts/catalog-ads.ts';
import { isPlan } from '../../ledger/accounts/pacing.ts';
import { ClockCheck } from './clock-check.ts';

/** Time to wait for more changes before they are read, in ms, so that one read serves a burst. */
const LINGER_MS = 20;
/** With more changed advertisers than this, the complete catalog is read again. */
const CHANGED_MAX = 500;
/** Longest wait for an answer of the database, in ms. After that, the connection is closed. */
const QUERY_MS_MAX = 10_000;
/** Longest wait for a connection to close, in ms. */
const END_MS_MAX = 1_000;
/** Ads in one page. Parsing a page takes a millisecond or two, so a large catalog does not block redirects. */
const PAGE_ADS = 1_000;
/** First line of the snapshot file. */
const SNAPSHOT_HEADER = 'TOLLWAY AD CATALOG 1';

export type AdCatalogOptions = {
  readonly databaseUrl: string;
  /** The snapshot file: the last catalog that was read. */
  readonly snapshotPath: string;
  readonly pollMs: number;
  readonly ageWarnMs: number;
};

/**
 * All ads, in memory, so that redirects do not query the database.
 *
 * `LISTEN` keeps the catalog up to date; polling catches lost notifications. When the connection breaks, the catalog serves the ads that it
 * has, reconnects without limit and then reads all ads again. When it starts without a database, it serves the snapshot on disk.
 */
export class AdCatalog {
  private ads = new Map<number, CatalogAd>();
  /** When the catalog was last up to date, on the clock of `performance.now()`; `null` without a catalog. */
  private upToDateAt: number | null = null;
  private readonly options: AdCatalogOptions;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly readLog: ThrottledLog;
  private readonly snapshotLog: ThrottledLog;
  private readonly ageLog: ThrottledLog;
  /** Measured with each complete read. */
  readonly clock: ClockCheck;
  private readonly stop = new AbortController();
  private readonly changed = new Set<number>();
  private wake: () => void = () => {};
  private running: Promise<void> = Promise.resolve();
  private snapshotText = '';

  constructor(options: AdCatalogOptions, deps: { metrics: Metrics; logger: Logger }) {
    this.options = options;
    this.metrics = deps.metrics;
    this.logger = deps.logger;
    this.clock = new ClockCheck(deps.logger);
    this.readLog = new ThrottledLog(deps.logger, {
      failed:
        'The ad catalog cannot be read. Redirects continue with the ads that were read before. Check the connection to the database',
      recovered: 'The ad catalog can be read again',
    });
    this.snapshotLog = new ThrottledLog(deps.logger, {
      failed:
        'The ad catalog cannot be saved to disk. If the ad server restarts without the database, it uses an older catalog',
      recovered: 'The ad catalog is saved to disk again',
    });
    this.ageLog = new ThrottledLog(deps.logger, {
      failed: 'The ad catalog is old: prices and pauses may be stale. Check the connection to the database',
      recovered: 'The ad catalog is up to date again',
    });
  }

  /** The ad with this id, or `undefined`. */
  get(adId: number): CatalogAd | undefined {
    return this.ads.get(adId);
  }

  /** Number of ads. */
  get size(): number {
    return this.ads.size;
  }

  /** Time since the catalog was last up to date, in ms; `null` without a catalog. */
  ageMs(nowMs = performance.now()): number | null {
    return this.upToDateAt === null ? null : nowMs - this.upToDateAt;
  }

  /** Loads the snapshot, if there is one, and starts to keep the catalog up to date. Does not wait for the database. */
  start(): void {
    this.loadSnapshot();
    this.running = this.keepUpToDate();
  }

  /** Stops the updates and waits for the one in progress. */
  async close(): Promise<void> {
    this.stop.abort();
    this.wake();
    await this.running;
  }

  private async keepUpToDate(): Promise<void> {
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
            this.readLog.recover();
          },
        );
      } catch (error) {
        this.readLog.fail({ problem: errorMessage(error) });
      } finally {
        this.metrics.databaseUp.set(0);
        // A broken connection may never answer `end`.
        await Promise.race([client.end().catch(() => {}), sleep(END_MS_MAX)]);
      }
      failures += 1;
      await sleep(backoffMs(failures), this.stop.signal);
    }
  }

  /** Reads all ads, then changed ones, until `isOver`. Calls `onRead` after each read. */
  private async follow(client: Client, isOver: () => boolean, onRead: () => void): Promise<void> {
    let pollAt = Number.NEGATIVE_INFINITY;
    while (!isOver()) {
      const changed = [...this.changed];
      this.changed.clear();
      const readAt = performance.now();
      if (readAt >= pollAt || changed.length > CHANGED_MAX) {
        await this.readAll(client);
        pollAt = readAt + this.options.pollMs;
      } else if (changed.length > 0) await this.readAdvertisers(client, changed);
      this.upToDateAt = readAt;
      this.metrics.databaseUp.set(1);
      onRead();
      await this.waitForChange(isOver, pollAt - performance.now());
      await sleep(LINGER_MS, this.stop.signal);
    }
  }

  private async readAll(client: Client): Promise<void> {
    await this.clock.measure(client);
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

  /** Resolves when an advertiser has changed, or after `ms`. */
  private waitForChange(isOver: () => boolean, ms: number): Promise<void> {
    if (this.changed.size > 0 || isOver()) return Promise.resolve();
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

  /** Warns while the catalog is older than `ageWarnMs`. Call it every second. */
  warnIfOld(): void {
    const ageMs = this.ageMs();
    if (ageMs === null) return;
    if (ageMs > this.options.ageWarnMs) this.ageLog.fail({ ageSeconds: Math.round(ageMs / 1_000) });
    else this.ageLog.recover();
  }

  /** Writes the snapshot. Its modification time is the time when the catalog was last up to date. */
  private async saveSnapshot(text: string): Promise<void> {
    const { snapshotPath } = this.options;
    try {
      if (text === this.snapshotText) {
        const now = new Date();
        await utimes(snapshotPath, now, now);
        this.snapshotLog.recover();
        return;
      }
      // A UUID, not the process id: two containers on one volume can have the same process id.
      const temporary = `${snapshotPath}.${uuidV7()}`;
      try {
        await writeFile(temporary, text, { mode: 0o600 });
        await rename(temporary, snapshotPath);
      } catch (error) {
        // On a full disk, an incomplete file would take space that the spool needs.
        await rm(temporary, { force: true });
        throw error;
      }
      this.snapshotText = text;
      this.snapshotLog.recover();
    } catch (error) {
      this.snapshotText = '';
      this.snapshotLog.fail({ problem: errorMessage(error) });
    }
  }

  private loadSnapshot(): void {
    const { snapshotPath } = this.options;
    try {
      const [header, ...lines] = readFileSync(snapshotPath, 'utf8').split('\n');
      if (header !== SNAPSHOT_HEADER) throw new Error(`Expected "${SNAPSHOT_HEADER}" in ${snapshotPath}`);
      const ads = lines.map((line) => asCatalogAd(JSON.parse(line)));
      this.ads = new Map(ads.map((ad) => [ad.id, ad]));
      // A modification time in the future counts as now: the clock was set back since.
      this.upToDateAt = performance.now() - Math.max(0, Date.now() - statSync(snapshotPath).mtimeMs);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      this.logger.warn(
        { problem: errorMessage(error) },
        'The ad catalog on disk cannot be read and is ignored',
      );
    }
  }
}

/** Checks an ad of the snapshot. Throws if it is not an ad. */
function asCatalogAd(value: unknown): CatalogAd {
  // The casts are safe: every field is checked below.
  const ad = (typeof value === 'object' && value !== null ? value : {}) as Record<keyof CatalogAd, unknown>;
  const isAd =
    [ad.id, ad.campaignId, ad.advertiserId, ad.priceMicros].every((field) => Number.isSafeInteger(field)) &&
    typeof ad.urlTemplate === 'string' &&
    Array.isArray(ad.passParameters) &&
    ad.passParameters.every((name) => typeof name === 'string') &&
    typeof ad.paused === 'boolean' &&
    typeof ad.held === 'boolean' &&
    (ad.pace === null || isPlan(ad.pace)) &&
    (ad.exhaustedUntil === null || Number.isSafeInteger(ad.exhaustedUntil)) &&
    [ad.startsAt, ad.endsAt].every((time) => time === null || Number.isFinite(time)) &&
    (ad.fallbackUrl === null || typeof ad.fallbackUrl === 'string');
  if (!isAd) throw new Error(`Expected an ad, got ${JSON.stringify(value).slice(0, 200)}`);
  return ad as CatalogAd;
}
