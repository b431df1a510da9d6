import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, inTransaction } from '../../common/postgres/postgres.ts';
import { parseTimeZone } from '../../common/time-zone.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { readCampaignCaps } from '../../ledger/accounts/campaign-caps.ts';
import { addCampaign, listCampaigns, updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { readCatalogPage } from '../../ledger/accounts/catalog-ads.ts';
import { readStatement } from '../../ledger/accounts/statement.ts';
import { isoDay } from '../../ledger/partitions.ts';
import { refreshRollup } from '../../ledger/reports/refresh-rollup.ts';
import { readReport } from '../../ledger/reports/report.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import {
  type Account,
  addAccount,
  addAdTo,
  createTestDatabase,
  type TestDatabase,
  testDatabase,
} from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { GONE, moveToTimeZone } from '../support/time-zones.ts';

const database = testDatabase();
const MONTH = new Date().toISOString().slice(0, 7);
/** Yesterday to tomorrow, by day. */
const DAY = {
  since: isoDay(Date.now() - DAY_MS),
  until: isoDay(Date.now() + 2 * DAY_MS),
  by: ['outcome'],
} as const;
const REFUSAL = {
  code: 'bad_time_zone',
  message: expect.stringContaining(
    `Expected a time zone that the database server knows, got its error: time zone "${GONE}" not recognized`,
  ),
};

it('Node knows a name that the server does not', async () => {
  expect(parseTimeZone(GONE)).toBe(GONE);
  await expect(database.pool.query('select now() at time zone $1', [GONE])).rejects.toMatchObject({
    code: '22023',
  });
});

it('an advertiser in a time zone that the server does not know is refused', async () => {
  await expect(addAdvertiser(database.pool, 'West', 'USD', GONE)).rejects.toMatchObject(REFUSAL);
  await expect(
    inTransaction(database.pool, (connection) => addAdvertiser(connection, 'West', 'USD', GONE)),
  ).rejects.toMatchObject(REFUSAL);
});

it('a report in a time zone that the server does not know is refused', async () => {
  for (const [since, until] of [
    ['2026-01-01', '2026-01-02'],
    [new Date('2026-01-01T00:00Z'), new Date('2026-01-02T00:00Z')],
  ] as const)
    await expect(
      readReport(database.pool, { since, until, by: ['day'], timeZone: GONE }),
    ).rejects.toMatchObject(REFUSAL);
});

it('the command line refuses it with the error of the server', async () => {
  const run = (...args: string[]) =>
    tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, ...args);
  for (const args of [
    ['advertiser', 'add', 'West', '--time-zone', GONE],
    ['report', '--since', '1d', '--time-zone', GONE],
  ])
    expect(await run(...args)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Expected a time zone that the database server knows/),
    });
});

describe('after a move to a server that lacks the time zone of an advertiser', () => {
  let moved: TestDatabase & { drop: () => Promise<void> };
  let stays: Account;
  let lacks: Account;
  let asOf: Date;

  /** An account whose campaign has a daily cap and pacing. */
  async function addPaced(): Promise<Account> {
    const account = await addAccount(moved.pool, { dailyCap: '10.00' });
    await updateCampaign(moved.pool, account.campaign.id, { pacing: 'even' });
    return account;
  }

  beforeAll(async () => {
    moved = await createTestDatabase();
    stays = await addPaced();
    lacks = await addPaced();
    await chargeBatch(moved.pool, [clickRecord({ ad: stays.ad })]);
    asOf = await rollUp(moved.pool);
    await moveToTimeZone(moved.pool, lacks.advertiser.id, GONE);
  });
  afterAll(() => moved.drop());

  it('the catalog has its ads without the plan of their campaign, and all others', async () => {
    const client = createClient(moved.url, 'test');
    await client.connect();
    try {
      const ads = await readCatalogPage(client, 0, 10);
      expect(ads.map(({ id, pace }) => [id, pace !== null])).toEqual([
        [stays.ad.id, true],
        [lacks.ad.id, false],
      ]);
    } finally {
      await client.end();
    }
  });

  it('lists and metrics of campaigns lack its present day alone', async () => {
    const campaigns = await listCampaigns(moved.pool);
    expect(campaigns).toMatchObject([
      { id: stays.campaign.id, dailyCapMicros: 10_000_000n, spentTodayMicros: expect.any(BigInt) },
      { id: lacks.campaign.id, dailyCapMicros: 10_000_000n, spentTodayMicros: null, pace: null },
    ]);
    const ids = [stays.advertiser.id, lacks.advertiser.id];
    const caps = await readCampaignCaps(moved.pool, ids, 10);
    expect(new Map(caps.map(({ advertiserId, day }) => [advertiserId, day]))).toEqual(
      new Map([
        [stays.advertiser.id, { amount: 10, spent: expect.any(Number) }],
        [lacks.advertiser.id, null],
      ]),
    );
  });

  it('its campaigns and its budget can be changed', async () => {
    const { id } = lacks.campaign;
    expect(await updateCampaign(moved.pool, id, { status: 'paused' })).toMatchObject({ status: 'paused' });
    await updateCampaign(moved.pool, id, { status: 'active' });
    await addBudgetEntry(moved.pool, lacks.advertiser.id, 'top_up', 1_000_000n);
  });

  it('its clicks on campaigns without a daily cap are charged', async () => {
    const campaign = await addCampaign(moved.pool, lacks.advertiser.id, 'Without a daily cap');
    const ad = await addAdTo(moved.pool, campaign, '0.25');
    expect(await chargeBatch(moved.pool, [clickRecord({ ad })])).toEqual(['charged']);
  });

  it('errors of its reports and statements name the server', async () => {
    await expect(rollUp(moved.pool)).rejects.toMatchObject(REFUSAL);
    await expect(readStatement(moved.pool, lacks.advertiser.id, MONTH)).rejects.toMatchObject(REFUSAL);
    await expect(readReport(moved.pool, { ...DAY, advertiserId: lacks.advertiser.id })).rejects.toMatchObject(
      REFUSAL,
    );
  });

  it('all other reports and statements are as of the time before', async () => {
    expect(await refreshRollup(moved.pool)).toEqual(REFUSAL.message);
    const rows = [{ clicks: 1n, chargedMicros: 250_000n }];
    expect(await readReport(moved.pool, DAY)).toMatchObject({ asOf, rows });
    expect(await readReport(moved.pool, { ...DAY, advertiserId: stays.advertiser.id })).toMatchObject({
      ...{ asOf, rows },
    });
    expect(await readStatement(moved.pool, stays.advertiser.id, MONTH)).toMatchObject({ asOf });
    const env = { DATABASE_URL: moved.url, PATH: process.env.PATH };
    expect(await tollwayHere(env, 'report', '--since', '1d')).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(
        /^The sums are as of an earlier time, because .*"US\/Pacific-New" not recognized/,
      ),
    });
  });
});
