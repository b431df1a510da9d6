import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { AdCatalog, type AdCatalogOptions } from '../../ad-server/catalog/ad-catalog.ts';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { notifyAdsChanged } from '../../ledger/budget-flag.ts';
import { stepSystemClock } from '../support/clock-step.ts';
import { addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const database = testDatabase();

/** A port that nobody listens on: connections are refused at once. */
const NO_DATABASE = 'postgres://nobody:nothing@127.0.0.1:1/tollway';
/** Longer than any test: what is seen earlier was not seen by polling. */
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

/** Runs a statement, and tells the ad servers of the advertiser, as every writer does. */
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
  it('has every ad, as a redirect needs it', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool, { price: '0.25' });
    const { catalog } = openCatalog();
    expect(await until('the ad', () => catalog.get(ad.id))).toEqual({
      id: ad.id,
      campaignId: campaign.id,
      advertiserId: advertiser.id,
      priceMicros: 250_000,
      urlTemplate: ad.urlTemplate,
      paused: false,
      budgetExhausted: false,
      fallbackUrl: null,
    });
    expect(catalog.get(2_000_000_000)).toBeUndefined();
  });

  it('has more ads than are read at once', async () => {
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

  it('sees a price, a pause, a budget-exhausted flag and a new ad as soon as it is told', async () => {
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
    await change(advertiser.id, 'update ad set budget_exhausted = true where id = $1', ad.id);
    await until('the budget-exhausted flag', () => catalog.get(ad.id)?.budgetExhausted);
    const added = await addAdTo(database.pool, campaign);
    await until('the new ad', () => catalog.get(added.id));
  });

  it('sees a burst of changes', async () => {
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

  it('polls, so that a change whose notification was lost is seen too', async () => {
    const { ad } = await addAccount(database.pool);
    const { catalog } = openCatalog({ pollMs: 100 });
    await until('the ad', () => catalog.get(ad.id));
    await database.pool.query('update ad set price_micros = 555 where id = $1', [ad.id]);
    await until('the price', () => catalog.get(ad.id)?.priceMicros === 555);
  });

  it('polls though others change all the time', async () => {
    const { ad } = await addAccount(database.pool);
    const busy = await addAccount(database.pool);
    const { catalog } = openCatalog({ pollMs: 200 });
    await until('the ad', () => catalog.get(ad.id));
    await database.pool.query('update ad set price_micros = 444 where id = $1', [ad.id]);
    // A notification every few milliseconds: never a pause as long as a poll.
    const deadline = Date.now() + 4_000;
    while (Date.now() < deadline && catalog.get(ad.id)?.priceMicros !== 444) {
      await change(busy.advertiser.id, 'select');
    }
    expect(catalog.get(ad.id)?.priceMicros).toBe(444);
  });

  it('is not led astray by a notification of somebody else', async () => {
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
  it('goes on with what it knows, comes back, and misses nothing of the time between', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    const { catalog } = openCatalog();
    await until('the ad', () => catalog.get(ad.id));
    for (let round = 1; round <= 3; round += 1) {
      await until('a connection', async () => (await terminate()) > 0);
      expect(catalog.get(ad.id)).toBeDefined();
      // Nobody is told of this one: only reading everything anew shows it.
      await database.pool.query('update ad set price_micros = $2 where id = $1', [ad.id, round * 10]);
      await until('the price of the time between', () => catalog.get(ad.id)?.priceMicros === round * 10);
      await change(advertiser.id, 'update ad set price_micros = $2 where id = $1', ad.id, round * 10 + 1);
      await until('the next one', () => catalog.get(ad.id)?.priceMicros === round * 10 + 1);
    }
  });

  it('says whether its database is there', async () => {
    const { catalog, metrics } = openCatalog();
    const up = async () => (await metrics.databaseUp.get()).values[0]?.value;
    await until('the database to be up', async () => (await up()) === 1);
    expect(catalog.ageMs()).toBeLessThan(60_000);
    const away = openCatalog({ databaseUrl: NO_DATABASE });
    const itsUp = async () => (await away.metrics.databaseUp.get()).values[0]?.value;
    await until('an attempt', async () => (await itsUp()) === 0);
  });
});

describe('the copy on disk', () => {
  it('lets an ad server start without a database, and says how old it is', async () => {
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

  it('is made young again by every poll that finds nothing new', async () => {
    const { ad } = await addAccount(database.pool);
    const { catalog, snapshotPath } = openCatalog({ pollMs: 100 });
    await until('the ad', () => catalog.get(ad.id));
    await until('the copy', () => statSync(snapshotPath, { throwIfNoEntry: false }));
    utimesSync(snapshotPath, 1, 1);
    await until('a poll', () => statSync(snapshotPath).mtimeMs > Date.now() - 60_000);
    expect(catalog.ageMs()).toBeLessThan(60_000);
  });

  it('leaves nothing behind where it cannot be kept', async () => {
    const { ad } = await addAccount(database.pool);
    const folder = temporaryFolder();
    // A folder that is not empty: no file takes its place.
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

  it('is replaced by what the database says', async () => {
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
    paused: false,
    budgetExhausted: false,
    fallbackUrl: null,
  });
  it.each([
    ['nothing', ''],
    ['zeros, as power loss leaves it', '\0'.repeat(200)],
    ['another version', `TOLLWAY AD CATALOG 2\n${GOOD}`],
    ['another file', '{"ads":[]}'],
    ['a line that is no JSON', `TOLLWAY AD CATALOG 1\n${GOOD}\n{"id":`],
    ['a line that is null', `TOLLWAY AD CATALOG 1\n${GOOD}\nnull`],
    ['a line that is a number', `TOLLWAY AD CATALOG 1\n${GOOD}\n7`],
    ['an ad without a destination', `TOLLWAY AD CATALOG 1\n${GOOD}\n{"id":2}`],
    [
      'an ad with a price in text',
      `TOLLWAY AD CATALOG 1\n${GOOD.replace('"priceMicros":1', '"priceMicros":"1"')}`,
    ],
  ])('is left aside as a whole when it is broken: %s', (_, text) => {
    const snapshotPath = join(temporaryFolder(), 'ad-catalog');
    writeFileSync(snapshotPath, text);
    const { catalog } = openCatalog({ snapshotPath, databaseUrl: NO_DATABASE });
    expect(catalog.size).toBe(0);
    expect(catalog.ageMs()).toBeNull();
  });

  it('is taken when it is whole', () => {
    const snapshotPath = join(temporaryFolder(), 'ad-catalog');
    writeFileSync(snapshotPath, `TOLLWAY AD CATALOG 1\n${GOOD}`);
    const { catalog } = openCatalog({ snapshotPath, databaseUrl: NO_DATABASE });
    expect(catalog.get(1)).toEqual(JSON.parse(GOOD));
  });

  it('may be missing, and may have no place: the catalog works all the same', async () => {
    const { ad } = await addAccount(database.pool);
    const { catalog } = openCatalog({ snapshotPath: join(temporaryFolder(), 'missing', 'ad-catalog') });
    await until('the ad', () => catalog.get(ad.id));
  });
});

describe('the log of the catalog', () => {
  it('says once that it is old, however often it is looked at, and once that it is not any more', async () => {
    const { logger, lines } = capturedLog();
    const { catalog } = openCatalog({ pollMs: 200, ageWarnMs: 100 }, logger);
    await until('an age', () => catalog.ageMs() !== null);
    for (let turn = 0; turn < 3; turn += 1) {
      await until('it to be old', () => (catalog.ageMs() ?? 0) > 100);
      for (let look = 0; look < 10; look += 1) catalog.warnIfOld();
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
  it('is null while there is none', () => {
    expect(openCatalog({ databaseUrl: NO_DATABASE }).catalog.ageMs()).toBeNull();
  });

  it('grows while nothing says that it is still true', async () => {
    const { catalog } = openCatalog();
    const age = await until('an age', () => catalog.ageMs());
    expect(catalog.ageMs(performance.now() + 5_000)).toBeGreaterThanOrEqual(age + 4_000);
  });

  it('does not follow a system clock that is set back, and neither do the polls', async () => {
    const { catalog } = openCatalog({ pollMs: 100 });
    await until('an age', () => catalog.ageMs() !== null);
    stepSystemClock(-3 * 3_600_000);
    expect(catalog.ageMs()).toBeGreaterThanOrEqual(0);
    await until('it to grow', () => (catalog.ageMs() ?? 0) > 50);
    await until('a poll', () => (catalog.ageMs() ?? 1_000) < 50);
  });

  it('begins anew with every poll', async () => {
    const { catalog } = openCatalog({ pollMs: 100 });
    await until('an age', () => catalog.ageMs() !== null);
    await until('it to grow', () => (catalog.ageMs() ?? 0) > 50);
    await until('a poll', () => (catalog.ageMs() ?? 1_000) < 50);
  });
});
