import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { AdCatalog, type AdCatalogOptions } from '../../ad-server/catalog/ad-catalog.ts';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { setAdvertiserStatus } from '../../ledger/accounts/advertisers.ts';
import { notifyAdsChanged } from '../../ledger/accounts/budget-flag.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { stepSystemClock } from '../support/clock-step.ts';
import { addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const database = testDatabase();

/** A URL with a port without a server: connections are refused at once. */
const NO_DATABASE = 'postgres://nobody:nothing@127.0.0.1:1/tollway';
/** Longer than any test, so that no change is found by polling. */
const NEVER_MS = 600_000;

function openCatalog(options: Partial<AdCatalogOptions> = {}, logger = silent) {
  const snapshotPath = options.snapshotPath ?? join(temporaryFolder(), 'ad-catalog');
  const metrics = createMetrics();
  const catalog = new AdCatalog(
    { databaseUrl: database.url, pollMs: NEVER_MS, ageWarnMs: 60_000, ...options, snapshotPath },
    { metrics, logger },
  );
  catalog.start();
  onTestFinished(() => catalog.close());
  return { catalog, snapshotPath, metrics };
}

/** Runs a statement and notifies the ad servers of the advertiser, as every writer does. */
async function change(advertiserId: number, statement: string, ...values: unknown[]): Promise<void> {
  await inTransaction(database.pool, async (connection) => {
    await connection.query(statement, values);
    await notifyAdsChanged(connection, advertiserId);
  });
}

/** Ends the connections of all catalogs; returns how many there were. */
async function terminate(): Promise<number> {
  const { rowCount } = await database.pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'tollway ad catalog' and datname = current_database()`,
  );
  return rowCount ?? 0;
}

describe('the ad catalog', () => {
  it('has every ad with the fields of a redirect', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, { price: '0.25' });
    const { catalog } = openCatalog();
    expect(await until('the ad', () => catalog.get(ad.id))).toEqual({
      id: ad.id,
      campaignId: campaign.id,
      advertiserId: advertiser.id,
      priceMicros: 250_000,
      urlTemplate: ad.urlTemplate,
      passParameters: [],
      paused: false,
      exhaustedUntil: null,
      held: false,
      startsAt: null,
      endsAt: null,
      fallbackUrl: null,
      pace: null,
    });
    expect(catalog.get(2_000_000_000)).toBeUndefined();
  });

  it('can have more ads than one page', async () => {
    const { campaign, advertiser } = await addAccount(database.pool);
    await database.pool.query(
      `insert into ad (campaign_id, advertiser_id, price_micros, url_template)
        select $1, $2, 1, 'https://example.com/' || n from generate_series(1, 2500) n`,
      [campaign.id, advertiser.id],
    );
    const { rows } = await database.pool.query<{ count: bigint }>('select count(*) from ad');
    const { catalog } = openCatalog();
    await until('all of them', () => catalog.size === Number(rows[0]?.count));
  });

  it('reads a price, a pause, a budget-exhausted flag and a new ad after a notification', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    const { catalog } = openCatalog();
    await until('the ad', () => catalog.get(ad.id));
    await change(advertiser.id, 'update ad set price_micros = 300000 where id = $1', ad.id);
    await until('the price', () => catalog.get(ad.id)?.priceMicros === 300_000);
    await change(advertiser.id, "update ad set status = 'paused' where id = $1", ad.id);
    await until('the pause', () => catalog.get(ad.id)?.paused);
    await change(advertiser.id, "update ad set status = 'active' where id = $1", ad.id);
    await until('its end', () => catalog.get(ad.id)?.paused === false);
    await change(advertiser.id, "update advertiser set status = 'paused' where id = $1", advertiser.id);
    await until("the advertiser's pause", () => catalog.get(ad.id)?.paused);
    await change(advertiser.id, "update ad set exhausted_until = 'infinity' where id = $1", ad.id);
    await until('the exhausted budget', () => catalog.get(ad.id)?.exhaustedUntil === Number.MAX_SAFE_INTEGER);
    await change(
      advertiser.id,
      "update ad set exhausted_until = '2026-01-31T12:00:00.0001Z' where id = $1",
      ad.id,
    );
    const noon = Date.parse('2026-01-31T12:00:00Z');
    await until('the end of its day', () => catalog.get(ad.id)?.exhaustedUntil === noon + 1);
    const added = await addAdTo(database.pool, campaign);
    await until('the new ad', () => catalog.get(added.id));
  });

  it('follows the status and the dates of campaigns, and archived advertisers', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    const { catalog } = openCatalog();
    await until('the ad', () => catalog.get(ad.id));
    const dates = {
      startsAt: new Date('2026-11-02T08:00:00.250Z'),
      endsAt: new Date('2026-12-01T00:00:00Z'),
    };
    await updateCampaign(database.pool, campaign.id, dates);
    await until('the end', () => catalog.get(ad.id)?.endsAt === dates.endsAt.getTime());
    expect(catalog.get(ad.id)).toMatchObject({ startsAt: dates.startsAt.getTime(), paused: false });
    for (const status of ['paused', 'active', 'archived', 'active'] as const) {
      await updateCampaign(database.pool, campaign.id, { status });
      await until(`the status ${status}`, () => catalog.get(ad.id)?.paused === (status !== 'active'));
    }
    await setAdvertiserStatus(database.pool, advertiser.id, 'archived');
    await until('the archived advertiser', () => catalog.get(ad.id)?.paused);
  });

  it('reads a burst of changes', async () => {
    const accounts = await Promise.all(Array.from({ length: 30 }, () => addAccount(database.pool)));
    const { catalog } = openCatalog();
    await until('all ads', () => accounts.every(({ ad }) => catalog.get(ad.id)));
    await Promise.all(
      accounts.map(({ advertiser, ad }) =>
        change(advertiser.id, 'update ad set price_micros = 777 where id = $1', ad.id),
      ),
    );
    await until('all prices', () => accounts.every(({ ad }) => catalog.get(ad.id)?.priceMicros === 777));
  });

  it('polls, so that it reads a change without a notification', async () => {
    const { ad } = await addAccount(database.pool);
    const { catalog } = openCatalog({ pollMs: 100 });
    await until('the ad', () => catalog.get(ad.id));
    await database.pool.query('update ad set price_micros = 555 where id = $1', [ad.id]);
    await until('the price', () => catalog.get(ad.id)?.priceMicros === 555);
  });

  it('polls even if notifications never pause', async () => {
    const { ad } = await addAccount(database.pool);
    const busy = await addAccount(database.pool);
    const { catalog } = openCatalog({ pollMs: 200 });
    await until('the ad', () => catalog.get(ad.id));
    await database.pool.query('update ad set price_micros = 444 where id = $1', [ad.id]);
    // A notification every few milliseconds, so there is never a pause as long as a poll interval.
    const deadline = Date.now() + 4_000;
    while (Date.now() < deadline && catalog.get(ad.id)?.priceMicros !== 444) {
      await change(busy.advertiser.id, 'select');
    }
    expect(catalog.get(ad.id)?.priceMicros).toBe(444);
  });

  it('ignores notifications that are not advertiser ids', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    const { catalog } = openCatalog();
    await until('the ad', () => catalog.get(ad.id));
    await database.pool.query(
      "select pg_notify('tollway_ads_changed', payload) from unnest($1::text[]) payload",
      [['', 'nonsense', '-1', '99999999999', '1.5', 'null']],
    );
    await change(advertiser.id, 'update ad set price_micros = 333 where id = $1', ad.id);
    await until('the price', () => catalog.get(ad.id)?.priceMicros === 333);
  });
});

describe('an ad catalog that loses its database', () => {
  it('serves its ads, reconnects, and reads all changes of the outage', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    const { catalog } = openCatalog();
    await until('the ad', () => catalog.get(ad.id));
    for (let round = 1; round <= 3; round += 1) {
      await until('a connection', async () => (await terminate()) > 0);
      expect(catalog.get(ad.id)).toBeDefined();
      // Without a notification: only a complete read finds this change.
      await database.pool.query('update ad set price_micros = $2 where id = $1', [ad.id, round * 10]);
      await until('the price of the time between', () => catalog.get(ad.id)?.priceMicros === round * 10);
      await change(advertiser.id, 'update ad set price_micros = $2 where id = $1', ad.id, round * 10 + 1);
      await until('the next one', () => catalog.get(ad.id)?.priceMicros === round * 10 + 1);
    }
  });

  it('reports in a metric whether its database answers', async () => {
    const { catalog, metrics } = openCatalog();
    const up = async () => (await metrics.databaseUp.get()).values[0]?.value;
    await until('the database to be up', async () => (await up()) === 1);
    expect(catalog.ageMs()).toBeLessThan(60_000);
    const away = openCatalog({ databaseUrl: NO_DATABASE });
    const itsUp = async () => (await away.metrics.databaseUp.get()).values[0]?.value;
    await until('an attempt', async () => (await itsUp()) === 0);
  });
});

describe('the snapshot on disk', () => {
  it('lets an ad server start without a database, with the age of the snapshot', async () => {
    const { ad } = await addAccount(database.pool);
    const first = openCatalog();
    await until('the ad', () => first.catalog.get(ad.id));
    const { snapshotPath } = first;
    await until('the copy', () => statSync(snapshotPath, { throwIfNoEntry: false }));
    await first.catalog.close();
    const anHourAgo = Date.now() / 1_000 - 3_600;
    utimesSync(snapshotPath, anHourAgo, anHourAgo);

    const { catalog } = openCatalog({ snapshotPath, databaseUrl: NO_DATABASE });
    expect(catalog.get(ad.id)).toEqual(first.catalog.get(ad.id));
    expect(catalog.size).toBe(first.catalog.size);
    expect(catalog.ageMs()).toBeGreaterThanOrEqual(3_599_000);
    expect(catalog.ageMs()).toBeLessThan(3_700_000);
  });

  it('gets a new time of modification by a poll without changes', async () => {
    const { ad } = await addAccount(database.pool);
    const { catalog, snapshotPath } = openCatalog({ pollMs: 100 });
    await until('the ad', () => catalog.get(ad.id));
    await until('the copy', () => statSync(snapshotPath, { throwIfNoEntry: false }));
    utimesSync(snapshotPath, 1, 1);
    await until('a poll', () => statSync(snapshotPath).mtimeMs > Date.now() - 60_000);
    expect(catalog.ageMs()).toBeLessThan(60_000);
  });

  it('leaves no files behind if it cannot be written', async () => {
    const { ad } = await addAccount(database.pool);
    const folder = temporaryFolder();
    // A folder that is not empty cannot be replaced by a file.
    const snapshotPath = join(folder, 'ad-catalog');
    mkdirSync(join(snapshotPath, 'full'), { recursive: true });
    const { catalog } = openCatalog({ snapshotPath, pollMs: 50 });
    await until('the ad', () => catalog.get(ad.id));
    let polls = 0;
    let lastAgeMs = 0;
    await until('three polls', () => {
      const ageMs = catalog.ageMs() ?? 0;
      if (ageMs < lastAgeMs) polls += 1;
      lastAgeMs = ageMs;
      return polls === 3;
    });
    await catalog.close();
    expect(readdirSync(folder)).toEqual(['ad-catalog']);
  });

  it('is replaced by the ads of the database', async () => {
    const { ad } = await addAccount(database.pool);
    const snapshotPath = join(temporaryFolder(), 'ad-catalog');
    const stale = { id: ad.id, priceMicros: 1, urlTemplate: 'https://stale.example/', paused: true };
    writeFileSync(snapshotPath, `TOLLWAY AD CATALOG 1\n${JSON.stringify(stale)}`);
    const { catalog } = openCatalog({ snapshotPath });
    await until('the truth', () => catalog.get(ad.id)?.priceMicros === 250_000);
    await until('the new copy', () => !readFileSync(snapshotPath, 'utf8').includes('stale'));
  });

  const GOOD = JSON.stringify({
    id: 1,
    campaignId: 1,
    advertiserId: 1,
    priceMicros: 1,
    urlTemplate: 'https://example.com/',
    passParameters: ['utm_*'],
    paused: false,
    exhaustedUntil: null,
    held: false,
    startsAt: null,
    endsAt: null,
    fallbackUrl: null,
    pace: { capMicros: 5, from: 1, fromMicros: 0, to: 9, spentMicros: 0, aheadUntil: null },
  });
  it.each([
    ['nothing', ''],
    ['zeros, as after a power loss', '\0'.repeat(200)],
    ['another version', `TOLLWAY AD CATALOG 2\n${GOOD}`],
    ['another file', '{"ads":[]}'],
    ['a line that is not JSON', `TOLLWAY AD CATALOG 1\n${GOOD}\n{"id":`],
    ['a line that is null', `TOLLWAY AD CATALOG 1\n${GOOD}\nnull`],
    ['a line that is a number', `TOLLWAY AD CATALOG 1\n${GOOD}\n7`],
    [
      'an ad with a text as its end',
      `TOLLWAY AD CATALOG 1\n${GOOD.replace('"endsAt":null', '"endsAt":"now"')}`,
    ],
    ['an ad without a destination', `TOLLWAY AD CATALOG 1\n${GOOD}\n{"id":2}`],
    [
      'an ad with a price in text',
      `TOLLWAY AD CATALOG 1\n${GOOD.replace('"priceMicros":1', '"priceMicros":"1"')}`,
    ],
  ])('is ignored as a whole when it is damaged: %s', (_, text) => {
    const snapshotPath = join(temporaryFolder(), 'ad-catalog');
    writeFileSync(snapshotPath, text);
    const { catalog } = openCatalog({ snapshotPath, databaseUrl: NO_DATABASE });
    expect(catalog.size).toBe(0);
    expect(catalog.ageMs()).toBeNull();
  });

  it('is used when it is complete', () => {
    const snapshotPath = join(temporaryFolder(), 'ad-catalog');
    writeFileSync(snapshotPath, `TOLLWAY AD CATALOG 1\n${GOOD}`);
    const { catalog } = openCatalog({ snapshotPath, databaseUrl: NO_DATABASE });
    expect(catalog.get(1)).toEqual(JSON.parse(GOOD));
  });

  it('can be missing or impossible to write: the catalog works without it', async () => {
    const { ad } = await addAccount(database.pool);
    const { catalog } = openCatalog({ snapshotPath: join(temporaryFolder(), 'missing', 'ad-catalog') });
    await until('the ad', () => catalog.get(ad.id));
  });
});

describe('the log of the catalog', () => {
  it('has one line when the catalog becomes old and one when it is up to date again, however often it is checked', async () => {
    const { logger, lines } = capturedLog();
    const { catalog } = openCatalog({ pollMs: 200, ageWarnMs: 100 }, logger);
    await until('an age', () => catalog.ageMs() !== null);
    for (let cycle = 0; cycle < 3; cycle += 1) {
      await until('it to be old', () => (catalog.ageMs() ?? 0) > 100);
      for (let check = 0; check < 10; check += 1) catalog.warnIfOld();
      await until('a poll', () => (catalog.ageMs() ?? 1_000) < 100);
      catalog.warnIfOld();
    }
    expect(lines).toEqual([
      'warn The ad catalog is old: prices and pauses may be stale. Check the connection to the database',
      'warn The ad catalog is up to date again',
    ]);
  });
});

describe('the age of the catalog', () => {
  it('is null without a catalog', () => {
    expect(openCatalog({ databaseUrl: NO_DATABASE }).catalog.ageMs()).toBeNull();
  });

  it('grows while the catalog is not confirmed', async () => {
    const { catalog } = openCatalog();
    const age = await until('an age', () => catalog.ageMs());
    expect(catalog.ageMs(performance.now() + 5_000)).toBeGreaterThanOrEqual(age + 4_000);
  });

  it('does not depend on the system clock, nor do the polls', async () => {
    const { catalog } = openCatalog({ pollMs: 100 });
    await until('an age', () => catalog.ageMs() !== null);
    stepSystemClock(-3 * 3_600_000);
    expect(catalog.ageMs()).toBeGreaterThanOrEqual(0);
    await until('it to grow', () => (catalog.ageMs() ?? 0) > 50);
    await until('a poll', () => (catalog.ageMs() ?? 1_000) < 50);
  });

  it('starts again at 0 with every poll', async () => {
    const { catalog } = openCatalog({ pollMs: 100 });
    await until('an age', () => catalog.ageMs() !== null);
    await until('it to grow', () => (catalog.ageMs() ?? 0) > 50);
    await until('a poll', () => (catalog.ageMs() ?? 1_000) < 50);
  });
});

describe('the clock of the host', () => {
  it.each([
    [-20_000, /^is 20 s behind that of the database server, and clicks get its time$/],
    [7_200_000, /^is 7200 s ahead of that of the database server, and clicks get its time$/],
  ])('that is off by %i ms is a warning until it is right', async (stepMs, reason) => {
    const { logger, lines } = capturedLog();
    const { catalog } = openCatalog({ pollMs: 100 }, logger);
    const { clock } = catalog;
    await until('a measurement', () => clock.offsetMs !== null);
    // The database server runs on this host.
    expect(Math.abs(clock.offsetMs ?? Number.NaN)).toBeLessThan(400);
    expect(clock.problems()).toEqual([]);
    stepSystemClock(stepMs);
    await until('a problem', () => clock.problems().length > 0);
    expect(clock.problems()).toEqual([{ what: 'clock', reason: expect.stringMatching(reason), forMs: 0 }]);
    vi.restoreAllMocks();
    await until('no problem', () => clock.problems().length === 0);
    expect(lines).toEqual([
      expect.stringMatching(/^warn The clock of this host differs from that of the database server\. /),
      'warn The clock of this host agrees with that of the database server again',
    ]);
  });
});
