import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPool, inTransaction, type Pool } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import { addAdvertiser, listAdvertisers } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { addCampaign, updateCampaign } from '../../../ledger/accounts/campaigns.ts';
import { CREDIT_CLICKS_MAX, creditClicks, refusalOf } from '../../../ledger/clicks/credit-clicks.ts';
import { dropClosedDays } from '../../../ledger/maintenance.ts';
import { addCreditsToRollup, rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch, expectBalanced, untilWaitingForLock } from '../../support/charge-batch.ts';
import {
  type Account,
  addAccount,
  addAdTo,
  createTestDatabase,
  type TestDatabase,
} from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord, type NamedAd } from '../../support/records.ts';
import { until } from '../../support/until.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let pool: Pool;
beforeEach(async () => {
  database = await createTestDatabase();
  ({ pool } = database);
});
afterEach(() => database.drop());

/** Charges clicks on ads, one for each mention, of two publishers and of none, and returns their ids. */
async function charge(ads: readonly NamedAd[]): Promise<string[]> {
  const publishers = [{ publisher: 'site-1' }, {}, { publisher: 'site-2' }];
  const records = ads.map((ad, index) => clickRecord({ ad, ...publishers[index % 3] }));
  expect(new Set(await chargeBatch(pool, records))).toEqual(new Set(['charged']));
  return records.map(({ click }) => click.clickId);
}

/** An account in another currency and time zone, with a price of 0.40. */
async function addEuroAccount(): Promise<Account> {
  const advertiser = await addAdvertiser(pool, 'Euro', 'EUR', 'Asia/Kathmandu');
  await addBudgetEntry(pool, advertiser.id, 'top_up', 100_000_000n);
  const campaign = await addCampaign(pool, advertiser.id, 'Campaign');
  return { advertiser, campaign, ad: await addAdTo(pool, campaign, '0.40') };
}

const remainingOf = async ({ advertiser }: Account) =>
  (await listAdvertisers(pool)).find(({ id }) => id === advertiser.id)?.remainingMicros;
const resultsOf = (results: readonly { result: string }[]) => results.map(({ result }) => result);

/** The statements that `work` sends on a connection of its own. */
async function queriesOf(work: (own: Pool) => Promise<unknown>): Promise<string[]> {
  const own = createPool(database.url, 'test', 1, () => {});
  const sent: string[] = [];
  own.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    const recorded = (...args: unknown[]) => {
      sent.push(JSON.stringify(args[0]));
      return query(...args);
    };
    Object.assign(client, { query: recorded });
  });
  await work(own).finally(() => own.end());
  return sent;
}

/** Each credit once, in the budgets, the rollup and the audit log. */
async function expectCredits(count: number): Promise<void> {
  await rollUp(pool);
  await expectBalanced(pool);
  const { rows } = await pool.query(
    `select count(*)::int as entries, count(distinct click_id)::int as clicks,
       (select sum(credited_clicks)::int from click_rollup) as quarters, (select sum(credited_clicks)::int from click_rollup_day) as days,
       (select count(*)::int from audit_entry where action = 'budget_entry.create' and after ->> 'kind' = 'credit') as audited
     from budget_entry where kind = 'credit'`,
  );
  expect(rows).toEqual([{ entries: count, clicks: count, quarters: count, days: count, audited: count }]);
  for (const [table, time] of [
    ['click_rollup', "quarter = date_bin('15 minutes', clicked_at, 'epoch')"],
    ['click_rollup_day', 'day = (clicked_at at time zone time_zone)::date'],
  ]) {
    const { rows: misplaced } = await pool.query(
      `select rollup.* from ${table} rollup join advertiser on advertiser.id = rollup.advertiser_id cross join lateral (
         select count(*) as clicks, coalesce(sum(amount_micros), 0) as micros from budget_entry join ledger using (click_id)
         where ledger.ad_id = rollup.ad_id and coalesce(ledger.publisher, '') = rollup.publisher and rollup.outcome = 'charged' and ${time}
       ) entered where (credited_clicks, credited_micros) is distinct from (entered.clicks, entered.micros)`,
    );
    expect(misplaced).toEqual([]);
  }
}

describe('creditClicks', () => {
  it('credits clicks of several advertisers once, and says of each click what became of it', async () => {
    const [dollars, euros] = [await addAccount(pool), await addEuroAccount()];
    const [a = '', b = '', c = '', before = ''] = await charge([dollars.ad, euros.ad, dollars.ad, euros.ad]);
    const robot = clickRecord({ ad: euros.ad, invalid: 'bot' });
    await chargeBatch(pool, [robot]);
    await creditClick(pool, before);
    const unknown = uuidV7();
    const list = [b, unknown, a, robot.click.clickId, before, c, a];
    const credit = (clickId: string, account: Account, result = 'credited') => ({
      ...{ clickId, result, advertiserId: account.advertiser.id, currency: account.advertiser.currency },
      amountMicros: account.ad.priceMicros,
    });
    const others = {
      unknown: { clickId: unknown, result: 'unknown' },
      robot: {
        ...{ clickId: robot.click.clickId, result: 'not_charged', advertiserId: euros.advertiser.id },
        ...{ outcome: 'invalid', reason: 'bot' },
      },
      before: credit(before, euros, 'already_credited'),
    };
    const first = await creditClicks(pool, list);
    expect(first).toEqual([
      ...[credit(b, euros), others.unknown, credit(a, dollars), others.robot, others.before],
      credit(c, dollars),
    ]);
    expect(first.map(refusalOf)).toEqual([
      ...[null, 'the ledger has no such click', null, 'it was not charged, its outcome is invalid: bot'],
      ...[null, null],
    ]);
    expect([await remainingOf(dollars), await remainingOf(euros)]).toEqual([100_000_000n, 100_000_000n]);
    expect(await creditClicks(pool, list)).toEqual(
      first.map((one) => (one.result === 'credited' ? { ...one, result: 'already_credited' } : one)),
    );
    expect(await creditClick(pool, a)).toMatchObject({ entered: false });
    await expectCredits(4);
  });

  it('lets ads be shown again whose budget was exhausted', async () => {
    const account = await addAccount(pool, { budget: '0.50' });
    const clicks = await charge([account.ad, account.ad]);
    const exhausted = async () =>
      (
        await pool.query(
          `select budget_exhausted, ad.exhausted_until is not null as ad,
             (select count(*)::int from webhook_event where type = 'budget.available') as events
           from advertiser join ad on advertiser_id = advertiser.id`,
        )
      ).rows[0];
    expect(await exhausted()).toMatchObject({ budget_exhausted: true, ad: true });
    await creditClicks(pool, clicks);
    expect(await exhausted()).toMatchObject({ budget_exhausted: false, ad: false });
  });

  it('refuses clicks of other advertisers than the one that is named', async () => {
    const [mine, other] = [await addAccount(pool), await addAccount(pool)];
    const [a = '', b = '', c = ''] = await charge([mine.ad, other.ad, other.ad]);
    const robot = clickRecord({ ad: other.ad, invalid: 'bot' });
    await chargeBatch(pool, [robot]);
    await creditClick(pool, c);
    const filter = { advertiserId: mine.advertiser.id };
    const results = await creditClicks(pool, [a, b, c, robot.click.clickId, uuidV7()], filter);
    const refused = ['other_advertiser', 'other_advertiser', 'other_advertiser'];
    expect(resultsOf(results)).toEqual(['credited', ...refused, 'unknown']);
    expect(results[1]).toEqual({
      ...{ clickId: b, result: 'other_advertiser', advertiserId: other.advertiser.id },
      advertiserName: 'Test advertiser',
    });
    await expect(creditClicks(pool, [a], { advertiserId: 2_000_000_000 })).rejects.toMatchObject({
      code: 'unknown_advertiser',
    });
    await expectCredits(2);
  });

  it('does not tell clicks of advertisers that the caller may not see from unknown ones', async () => {
    const [mine, other] = [await addAccount(pool), await addAccount(pool)];
    const [a = '', b = '', c = ''] = await charge([mine.ad, other.ad, other.ad]);
    await creditClick(pool, c);
    const advertiserIds = [mine.advertiser.id];
    const [queriesOfOthers, queriesOfNone] = [
      await queriesOf((own) => creditClicks(own, [b, c], { advertiserIds })),
      await queriesOf((own) => creditClicks(own, [uuidV7(), uuidV7()], { advertiserIds })),
    ];
    expect(queriesOfOthers.length).toBeGreaterThan(3);
    expect(queriesOfOthers).toEqual(queriesOfNone);
    const results = await creditClicks(pool, [b, c, a, uuidV7()], { advertiserIds });
    expect(resultsOf(results)).toEqual(['unknown', 'unknown', 'credited', 'unknown']);
    expect(Object.keys(results[0] ?? {})).toEqual(Object.keys(results[3] ?? {}));
    expect(
      resultsOf(await creditClicks(pool, [b, c], { advertiserIds, advertiserId: mine.advertiser.id })),
    ).toEqual(['unknown', 'unknown']);
    await expectCredits(2);
  });

  it('tells clicks of a dropped day, and those of them that were credited before', async () => {
    const { ad } = await addAccount(pool);
    const clickedAt = Date.now() - 3 * DAY_MS;
    const records = [clickRecord({ ad, clickedAt }), clickRecord({ ad, clickedAt })];
    expect(await chargeBatch(pool, records)).toEqual(['charged', 'charged']);
    const [credited = '', left = ''] = records.map(({ click }) => click.clickId);
    await creditClicks(pool, [credited]);
    await pool.query('update ledger_window set click_floor = current_date, floor_raised_at = now()');
    await dropClosedDays(pool, silent, 0);
    const results = await creditClicks(pool, [left, credited]);
    expect(resultsOf(results)).toEqual(['day_closed', 'already_credited']);
    expect(results.map(refusalOf)).toEqual([
      `the ledger has no clicks of ${new Date(clickedAt).toISOString().slice(0, 10)} any more`,
      null,
    ]);
  });

  it('takes a limited number of ids', async () => {
    const ids = Array.from({ length: CREDIT_CLICKS_MAX + 1 }, () => uuidV7());
    expect(() => creditClicks(pool, ids)).toThrow('Expected at most 1000 click ids, got 1001');
    expect(new Set(resultsOf(await creditClicks(pool, ids.slice(1))))).toEqual(new Set(['unknown']));
  });
});

describe('credits of many clicks at the same time as', () => {
  it('other credits and charges enter each credit once, without a deadlock', async () => {
    const accounts = [await addAccount(pool), await addEuroAccount(), await addAccount(pool)];
    const ads = accounts.map(({ ad }) => ad);
    const many = Array.from({ length: 300 }, (_, index) => ads[index % 3] as NamedAd);
    const clicks = await charge(many);
    const runs = [clicks, clicks.toReversed(), clicks.slice(100), clicks.slice(0, 200).toReversed()];
    const [results] = await Promise.all([
      Promise.all(runs.map((run) => creditClicks(pool, run))),
      ...clicks.slice(0, 20).map((clickId) => creditClick(pool, clickId).catch(String)),
      ...Array.from({ length: 5 }, () => charge(many.slice(0, 60).toReversed())),
    ]);
    for (const result of results.flat()) expect(result.result).toMatch(/^(already_)?credited$/);
    await expectCredits(300);
  });

  it('runs of the rollup and new caps neither deadlock nor lose a credit', async () => {
    const accounts = [await addAccount(pool), await addEuroAccount(), await addAccount(pool)];
    const ads = accounts.map(({ ad }) => ad);
    const clickedAt = (index: number) => Date.now() - (index % 40) * 3_600_000;
    for (let round = 0; round < 8; round += 1) {
      const records = Array.from({ length: 240 }, (_, index) =>
        clickRecord({ ad: ads[index % 3] as NamedAd, clickedAt: clickedAt(index) }),
      );
      await chargeBatch(pool, records);
      const ids = records.map(({ click }) => click.clickId);
      // A first cap sums up what the campaign has spent, under the lock of the advertiser and without runs.
      const caps = accounts.flatMap(({ campaign: { id } }) => [
        updateCampaign(pool, id, { capMicros: 900_000_000n }),
        updateCampaign(pool, id, { capMicros: null }),
      ]);
      const credits = [creditClicks(pool, ids), creditClicks(pool, ids.toReversed())];
      await Promise.all([rollUp(pool), ...credits, ...caps]);
    }
    await expectCredits(8 * 240);
  });

  it('a charge that holds one of the advertisers wait for it, and hold none of a higher id meanwhile', async () => {
    const accounts = [await addAccount(pool), await addAccount(pool), await addAccount(pool)];
    const [lowest = 0, ...higher] = accounts.map(({ advertiser }) => advertiser.id);
    const clicks = await charge(accounts.map(({ ad }) => ad).toReversed());
    // Its row is now the last one of the table: a statement without an order would lock the others first.
    await pool.query('update advertiser set name = name where id = $1', [lowest]);
    // An index would return the rows in the order of their ids.
    const scanning = new URL(database.url);
    scanning.searchParams.set('options', '-c enable_indexscan=off -c enable_bitmapscan=off');
    const own = createPool(scanning.href, 'test', 1, () => {});
    const holder = await pool.connect();
    try {
      await holder.query('begin');
      await holder.query('select from advertiser where id = $1 for no key update', [lowest]);
      const credits = creditClicks(own, clicks);
      await untilWaitingForLock(pool);
      const free = 'select from advertiser where id = any($1) for no key update nowait';
      expect((await holder.query(free, [higher])).rowCount).toBe(2);
      await holder.query('commit');
      expect(resultsOf(await credits)).toEqual(['credited', 'credited', 'credited']);
    } finally {
      holder.release(true);
      await own.end();
    }
    await expectCredits(3);
  });

  it('a run of the rollup wait for it, and hold no row of the rollup meanwhile', async () => {
    const accounts = [await addAccount(pool), await addEuroAccount(), await addAccount(pool)];
    const clicks = await charge(accounts.map(({ ad }) => ad));
    await rollUp(pool);
    const run = await pool.connect();
    try {
      await run.query("begin; select pg_advisory_xact_lock(hashtext('tollway rollup'))");
      const credits = creditClicks(pool, clicks);
      await untilWaitingForLock(pool);
      for (const table of ['click_rollup', 'click_rollup_day'])
        expect((await run.query(`select from ${table} for update nowait`)).rowCount).toBe(3);
      // No charge waits for the run.
      expect((await run.query('select from advertiser for no key update nowait')).rowCount).toBe(3);
      await run.query('commit');
      expect(resultsOf(await credits)).toEqual(['credited', 'credited', 'credited']);
    } finally {
      run.release(true);
    }
    await expectCredits(3);
  });

  it('each other let a run of the rollup have its turn', async () => {
    const [held, free] = [await addAccount(pool), await addAccount(pool)];
    const [first = '', second = ''] = await charge([held.ad, free.ad]);
    const waiting = async () =>
      (await pool.query("select from pg_locks where locktype = 'advisory' and not granted")).rowCount;
    const holder = await pool.connect();
    const results: Promise<unknown>[] = [];
    try {
      await holder.query('begin');
      await holder.query('select from advertiser where id = $1 for no key update', [held.advertiser.id]);
      results.push(creditClicks(pool, [first]));
      await untilWaitingForLock(pool);
      results.push(rollUp(pool));
      await until('a run that waits', async () => (await waiting()) === 1);
      results.push(creditClicks(pool, [second]));
      await until('a credit that waits behind the run', async () => (await waiting()) === 2);
      // A first cap keeps runs out while it holds an advertiser. Behind the run that waits, it could deadlock with the first credit.
      await updateCampaign(pool, free.campaign.id, { capMicros: 1_000_000n });
      await holder.query('commit');
      await Promise.all(results);
    } finally {
      holder.release(true);
      await Promise.allSettled(results);
    }
    await expectCredits(2);
  });

  it('a drop of the day fail, if the rollup would not get all of them', async () => {
    const { ad } = await addAccount(pool);
    const [clickId = ''] = await charge([ad]);
    const adding = inTransaction(pool, (connection) => addCreditsToRollup(connection, [clickId, uuidV7()]));
    await expect(adding).rejects.toThrow('Expected the ledger to have 2 clicks, got 1');
    await expectCredits(0);
  });

  it('a failure of the transaction credit nothing', async () => {
    const account = await addAccount(pool);
    const clicks = await charge([account.ad, account.ad]);
    await pool.query(
      'alter table click_rollup_day add constraint refuses check (credited_clicks = 0) not valid',
    );
    await expect(creditClicks(pool, clicks)).rejects.toThrow('refuses');
    await pool.query('alter table click_rollup_day drop constraint refuses');
    expect(resultsOf(await creditClicks(pool, clicks))).toEqual(['credited', 'credited']);
    await expectCredits(2);
  });
});
