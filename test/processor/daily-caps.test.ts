import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { errorCode } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { addCampaign, type Campaign } from '../../ledger/accounts/campaigns.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { settle } from '../../processor/charge/charge-clicks.ts';
import { chargeBatch, chargeBatchTwice, expectBalanced, shuffle } from '../support/charge-batch.ts';
import { type Account, addAccount, addAdTo, capDaily, testDatabase } from '../support/database.ts';
import { openPastDays } from '../support/past-days.ts';
import { clickRecord, TestSpool } from '../support/records.ts';

const database = testDatabase({ poolSize: 20 });
/** Clicks of any age whose day the ledger has. */
const OPTIONS = { clickAgeMaxDays: 10_000 };
const HOUR_MS = 3_600_000;

beforeAll(async () => {
  await openPastDays(database.pool, '2025-03-28', '2025-04-01');
  await openPastDays(database.pool, '2025-10-24', '2025-10-28');
});

afterEach(async () => {
  await expectBalanced(database.pool);
});

/** Lets the daily cap of a campaign apply to past days, too. */
async function capPast({ id }: Campaign): Promise<void> {
  await database.pool.query("update campaign set daily_cap_since = '2025-01-01' where id = $1", [id]);
}

async function cappedAccount(terms: Parameters<typeof addAccount>[1]): Promise<Account> {
  const account = await addAccount(database.pool, terms);
  await capPast(account.campaign);
  return account;
}

/** What a campaign was charged by day of its advertiser's time zone, recounted from the ledger. */
async function chargedByDay({ id }: Campaign): Promise<Record<string, string>> {
  const { rows } = await database.pool.query<{ day: string; micros: bigint }>(
    `select (clicked_at at time zone time_zone)::date::text as day, sum(charged_micros)::bigint as micros
     from ledger join advertiser on advertiser.id = advertiser_id
     where campaign_id = $1 and outcome = 'charged' group by 1 order by 1`,
    [id],
  );
  return Object.fromEntries(rows.map(({ day, micros }) => [day, formatAmount(micros)]));
}

const clicksAt = ({ ad }: Pick<Account, 'ad'>, times: readonly (string | number)[]) =>
  times.map((time) => clickRecord({ ad, clickedAt: new Date(time).getTime() }));

describe('a daily cap', () => {
  it('lets each day spend up to it, and no more', async () => {
    const account = await cappedAccount({ dailyCap: '0.60', price: '0.25' });
    const batch = clicksAt(account, [
      '2025-03-30T00:00:00Z',
      '2025-03-30T12:00:00Z',
      '2025-03-30T23:59:59.999Z',
      '2025-03-31T00:00:00Z',
    ]);
    expect(await chargeBatchTwice(database.pool, batch, OPTIONS)).toEqual([
      'charged',
      'charged',
      'over_budget: daily_cap',
      'charged',
    ]);
    const late = clicksAt(account, ['2025-03-30T10:00:00Z', '2025-03-31T10:00:00Z', '2025-03-31T11:00:00Z']);
    expect(await chargeBatchTwice(database.pool, late, OPTIONS)).toEqual([
      'over_budget: daily_cap',
      'charged',
      'over_budget: daily_cap',
    ]);
    expect(await chargedByDay(account.campaign)).toEqual({ '2025-03-30': '0.50', '2025-03-31': '0.50' });
  });

  it('is one for all ads of the campaign, and lets a cheaper click spend the rest', async () => {
    const account = await cappedAccount({ dailyCap: '0.60', price: '0.25' });
    const cheap = await addAdTo(database.pool, account.campaign, '0.10');
    const at = Date.now();
    const batch = [account.ad, account.ad, account.ad, cheap, cheap].map((ad, index) =>
      clickRecord({ ad, clickedAt: at + index }),
    );
    expect(await chargeBatchTwice(database.pool, batch)).toEqual([
      'charged',
      'charged',
      'over_budget: daily_cap',
      'charged',
      'over_budget: daily_cap',
    ]);
  });

  it('lets other campaigns of the advertiser continue', async () => {
    const account = await addAccount(database.pool, { dailyCap: '0.25', price: '0.25' });
    const other = await addCampaign(database.pool, account.advertiser.id, 'other');
    const otherAd = await addAdTo(database.pool, other, '0.25');
    const batch = [account.ad, account.ad, otherAd, otherAd].map((ad) => clickRecord({ ad }));
    expect((await chargeBatchTwice(database.pool, batch)).sort()).toEqual([
      'charged',
      'charged',
      'charged',
      'over_budget: daily_cap',
    ]);
  });

  it.each([
    ['Europe/Berlin', '2025-03-30', 23, '2025-03-29T23:00:00Z'],
    ['Europe/Berlin', '2025-10-26', 25, '2025-10-25T22:00:00Z'],
    // Midnight is repeated on this day: the clock goes from 01:00 back to 00:00.
    ['Atlantic/Azores', '2025-10-26', 25, '2025-10-26T00:00:00Z'],
    ['Asia/Kathmandu', '2025-03-30', 24, '2025-03-29T18:15:00Z'],
  ])('in %s covers %s, a day of %d hours', async (timeZone, day, hours, begin) => {
    const account = await cappedAccount({ dailyCap: '1.00', price: '1.00', timeZone });
    const beginsAt = Date.parse(begin);
    const endsAt = beginsAt + hours * HOUR_MS;
    const batch = clicksAt(account, [beginsAt - 1, beginsAt, endsAt - 1, endsAt]);
    expect(await chargeBatchTwice(database.pool, batch, OPTIONS)).toEqual([
      'charged',
      'charged',
      'over_budget: daily_cap',
      'charged',
    ]);
    expect(await chargedByDay(account.campaign)).toMatchObject({ [day]: '1.00' });
  });

  it('does not apply to days before the one on which it was set first', async () => {
    const account = await addAccount(database.pool, { dailyCap: '0.25', price: '0.25' });
    const batch = clicksAt(
      account,
      [0, 1, 2].map((ms) => Date.now() - 2 * DAY_MS + ms),
    );
    expect(await chargeBatchTwice(database.pool, batch)).toEqual(['charged', 'charged', 'charged']);
  });

  it('cannot be passed in the schema', async () => {
    const { campaign, ad } = await addAccount(database.pool, { dailyCap: '0.30', price: '0.25' });
    await chargeBatchTwice(database.pool, [clickRecord({ ad })]);
    const overspend = (micros: number) =>
      database.pool.query('update campaign_day set spent_micros = $2 where campaign_id = $1', [
        campaign.id,
        micros,
      ]);
    const refused = { code: '23514', constraint: 'campaign_day_within_cap' };
    await expect(overspend(300_001)).rejects.toMatchObject(refused);
    const insert = database.pool.query(
      "insert into campaign_day (campaign_id, day, cap_micros, spent_micros) values ($1, '2020-01-01', 5, 6)",
      [campaign.id],
    );
    await expect(insert).rejects.toMatchObject(refused);
  });
});

it('a charge of campaigns without a daily cap sends no query for days', async () => {
  const { ad } = await addAccount(database.pool);
  const connection = await database.pool.connect();
  const statements: string[] = [];
  const query = connection.query;
  connection.query = ((...args: unknown[]) => {
    statements.push(JSON.stringify(args[0]));
    return Reflect.apply(query, connection, args);
  }) as typeof query;
  try {
    await connection.query('begin');
    await settle(connection, [clickRecord({ ad })], OPTIONS);
    await connection.query('commit');
  } finally {
    connection.query = query;
    connection.release();
  }
  expect(statements.some((statement) => statement.includes('charge advertiser'))).toBe(true);
  expect(statements.filter((statement) => statement.includes('campaign_day'))).toEqual([]);
});

const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Atlantic/Azores', 'Asia/Kolkata', 'Pacific/Apia'];
/** Around the days of 23 and 25 hours in Europe. */
type Span = readonly [from: number, to: number];
const SPANS: readonly Span[] = [
  [Date.parse('2025-03-28T12:00:00Z'), Date.parse('2025-04-01T12:00:00Z')],
  [Date.parse('2025-10-24T12:00:00Z'), Date.parse('2025-10-28T12:00:00Z')],
];

const campaignTerms = fc.record({
  timeZone: fc.constantFrom(...ZONES),
  dailyCap: fc.integer({ min: 10, max: 120 }),
  cap: fc.option(fc.integer({ min: 50, max: 300 })),
  budget: fc.integer({ min: 50, max: 500 }),
});
const clickTerms = fc.record({
  campaign: fc.nat(2),
  span: fc.constantFrom<Span>(...SPANS),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  price: fc.integer({ min: 1, max: 40 }),
  /** How often the broker delivers it. */
  deliveries: fc.integer({ min: 1, max: 3 }),
});
const story = fc.record({
  campaigns: fc.array(campaignTerms, { minLength: 3, maxLength: 3 }),
  clicks: fc.array(clickTerms, { minLength: 10, maxLength: 60 }),
  batchSize: fc.integer({ min: 1, max: 20 }),
  processors: fc.integer({ min: 1, max: 6 }),
});

const decimal = (cents: number) => formatAmount(BigInt(cents) * 10_000n);

/** Splits deliveries into batches and settles them with several processors at once. */
async function processAtOnce(deliveries: readonly ReadClick[], batchSize: number, processors: number) {
  const batches = Array.from({ length: Math.ceil(deliveries.length / batchSize) }, (_, index) =>
    deliveries.slice(index * batchSize, (index + 1) * batchSize),
  );
  const work = async () => {
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift())
      await chargeBatch(database.pool, batch, OPTIONS);
  };
  await Promise.all(Array.from({ length: processors }, work));
}

type DaySpend = { day: string; spent: number; refused: number | null };

/** In cents, by day: the sum of the charges, and the lowest price of a click that the daily cap refused. */
async function readDays({ id }: Campaign, prices: ReadonlyMap<string, number>): Promise<DaySpend[]> {
  const { rows } = await database.pool.query<{ day: string; outcome: string; reason: string; id: string }>(
    `select (clicked_at at time zone time_zone)::date::text as day, outcome, reason, click_id as id
     from ledger join advertiser on advertiser.id = advertiser_id where campaign_id = $1`,
    [id],
  );
  return [...Map.groupBy(rows, ({ day }) => day)].map(([day, clicks]) => {
    const pricesOf = (of: (click: (typeof rows)[number]) => boolean) =>
      clicks.filter(of).map((click) => prices.get(click.id) ?? Number.NaN);
    const refused = pricesOf(({ reason }) => reason === 'daily_cap');
    const spent = pricesOf(({ outcome }) => outcome === 'charged').reduce((sum, price) => sum + price, 0);
    return { day, spent, refused: refused.length === 0 ? null : Math.min(...refused) };
  });
}

async function makeStory({ campaigns, clicks }: { campaigns: CampaignTerms[]; clicks: ClickTerms[] }) {
  const accounts = await Promise.all(
    campaigns.map(({ timeZone, dailyCap, cap, budget }) =>
      cappedAccount({
        timeZone,
        dailyCap: decimal(dailyCap),
        budget: decimal(budget),
        ...(cap === null ? {} : { cap: decimal(cap) }),
      }),
    ),
  );
  const spool = new TestSpool();
  const prices = new Map<string, number>();
  const deliveries = clicks.flatMap(({ campaign, span: [from, to], at, price, deliveries }) => {
    const ad = accounts[campaign]?.ad;
    if (ad === undefined) throw new Error('Expected an account');
    const clickedAt = Math.floor(from + at * (to - from));
    const record = spool.click({ ad, clickedAt, priceMicros: price * 10_000 });
    prices.set(record.click.clickId, price);
    return Array.from({ length: deliveries }, () => record);
  });
  return { accounts, prices, deliveries: shuffle(deliveries) };
}
type CampaignTerms = typeof campaignTerms extends fc.Arbitrary<infer T> ? T : never;
type ClickTerms = typeof clickTerms extends fc.Arbitrary<infer T> ? T : never;

describe('daily caps under any interleaving of batches, redeliveries and processors', () => {
  it('are never passed, and refuse only what does not fit, in any zone and on days of 23 and 25 hours', {
    timeout: 90_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(story, async (drawn) => {
        const { accounts, prices, deliveries } = await makeStory(drawn);
        await processAtOnce(deliveries, drawn.batchSize, drawn.processors);
        for (const [index, { campaign }] of accounts.entries()) {
          const cap = drawn.campaigns[index]?.dailyCap ?? 0;
          for (const { spent, refused } of await readDays(campaign, prices)) {
            expect(spent).toBeLessThanOrEqual(cap);
            // What is spent only grows, so a click that did not fit then does not fit now.
            if (refused !== null) expect(spent + refused).toBeGreaterThan(cap);
          }
        }
      }),
      { numRuns: 12 },
    );
  });

  it('are never passed while they are raised, lowered, removed and set again', {
    timeout: 90_000,
  }, async () => {
    const changes = fc.array(
      fc.record({ campaign: fc.nat(2), dailyCap: fc.option(fc.integer({ min: 10, max: 120 }), { freq: 4 }) }),
      { minLength: 3, maxLength: 12 },
    );
    // Clicks of the present days, because a change applies from the present day on.
    const span = [Date.now() - 36 * HOUR_MS, Date.now() + 12 * HOUR_MS] as const satisfies Span;
    const present = fc.tuple(story, changes).map(([drawn, drawnChanges]) => ({
      ...drawn,
      changes: drawnChanges,
      clicks: drawn.clicks.map((click) => ({ ...click, span })),
    }));
    await fc.assert(
      fc.asyncProperty(present, async (drawn) => {
        const { accounts, deliveries } = await makeStory(drawn);
        const change = async () => {
          for (const { campaign, dailyCap } of drawn.changes) {
            const account = accounts[campaign];
            if (account === undefined) continue;
            await capDaily(
              database.pool,
              account.campaign,
              dailyCap === null ? null : decimal(dailyCap),
            ).catch((error: unknown) => expect(errorCode(error)).toBe('cap_below_spent'));
            if (Math.random() < 0.3) await rollUp(database.pool);
          }
        };
        await Promise.all([processAtOnce(deliveries, drawn.batchSize, drawn.processors), change()]);
        for (const { campaign } of accounts) expect(await overspentDays(campaign)).toEqual([]);
        // Compares what the days have spent with the ledger.
        await expectBalanced(database.pool);
      }),
      { numRuns: 10 },
    );
  });
});

/** Days that were charged more than the cap they have. A cap that was lowered is never below what was spent, so it covers every moment. */
async function overspentDays({ id }: Campaign) {
  const { rows } = await database.pool.query(
    `select charge.day, micros, cap_micros from (
       select (clicked_at at time zone time_zone)::date as day, sum(charged_micros) as micros
       from ledger join advertiser on advertiser.id = advertiser_id where campaign_id = $1 group by 1
     ) charge join campaign_day on campaign_id = $1 and campaign_day.day = charge.day where micros > cap_micros`,
    [id],
  );
  return rows;
}
