import { describe, expect, it } from 'vitest';
import { errorCode } from '../../common/errors.ts';
import { failureKind } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor, uuidV7 } from '../../common/uuid.ts';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { dayStart, partitionName } from '../../ledger/partitions.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

const database = testDatabase();
const OPTIONS = { clickAgeMaxDays: 14 };

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function insertRow(
  clickId: string,
  columns: { outcome?: string; charged?: bigint; reason?: string | null } = {},
) {
  const { outcome = 'charged', charged = 1n, reason = null } = columns;
  return database.pool.query(
    `insert into ledger (click_id, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome, reason)
     values ($1, now(), $2, 1, 1, 1, $3, $4)`,
    [clickId, charged, outcome, reason],
  );
}

describe('the constraints of the schema', () => {
  it('refuse spending above the budget', async () => {
    const { advertiser } = await addAccount(database.pool, { budget: '1.00' });
    const overspend = (micros: number) =>
      database.pool.query('update advertiser set spent_micros = $2 where id = $1', [advertiser.id, micros]);
    const error = await failureOf(overspend(1_000_001));
    expect(error).toMatchObject({ code: '23514', constraint: 'advertiser_remaining_not_negative' });
    expect(failureKind(error)).toBe('invariant');
    expect(await failureOf(overspend(-1))).toMatchObject({ code: '23514' });
    const shrink = 'update advertiser set budget_micros = -1 where id = $1';
    expect(await failureOf(database.pool.query(shrink, [advertiser.id]))).toMatchObject({ code: '23514' });
  });

  it('refuse spending above a cap', async () => {
    const { campaign } = await addAccount(database.pool, { cap: '1.00' });
    const statement = 'update campaign set spent_micros = 1000001 where id = $1';
    const error = await failureOf(database.pool.query(statement, [campaign.id]));
    expect(error).toMatchObject({ code: '23514', constraint: 'campaign_within_cap' });
  });

  it('refuse dates of a campaign that programs cannot read', async () => {
    const { campaign } = await addAccount(database.pool);
    const set = (column: string, time: string) =>
      database.pool.query(`update campaign set ${column} = $2 where id = $1`, [campaign.id, time]);
    for (const column of ['starts_at', 'ends_at']) {
      for (const time of [
        '0001-12-31 12:00+00 BC',
        '1969-12-31 23:59:59+00',
        '10000-01-01 00:00+00',
        'infinity',
      ])
        expect(await failureOf(set(column, time))).toMatchObject({ constraint: 'campaign_dates_in_range' });
    }
    await set('starts_at', '1970-01-01 00:00+00');
    await set('ends_at', '9999-12-31 23:59:59.999+00');
  });

  it('refuse a second row of a click and a second use of a nonce', async () => {
    const clickId = uuidV7();
    await insertRow(clickId);
    expect(errorCode(await failureOf(insertRow(clickId)))).toBe('23505');
    const spend = () => database.pool.query('insert into spent_nonce values ($1, $2)', [clickId, uuidV7()]);
    await spend();
    expect(errorCode(await failureOf(spend()))).toBe('23505');
  });

  it.each([
    ['a charge of 0', { charged: 0n }],
    ['a charge with a reason', { reason: 'bot' }],
    ['an invalid click with an amount', { outcome: 'invalid', reason: 'bot' }],
    ['an invalid click without a reason', { outcome: 'invalid', charged: 0n }],
    ['a negative amount', { charged: -1n, outcome: 'invalid', reason: 'bot' }],
  ])('refuse a row of the ledger with %s', async (_, columns) => {
    expect(errorCode(await failureOf(insertRow(uuidV7(), columns)))).toBe('23514');
  });

  it('refuse a repeated reference, an amount of 0, and a credit without a click', async () => {
    const { advertiser } = await addAccount(database.pool, { budget: '0.00' });
    const { advertiser: other } = await addAccount(database.pool, { budget: '0.00' });
    const enter = (
      id: number,
      amount: number,
      reference: string,
      kind = 'top_up',
      clickId: string | null = null,
    ) =>
      database.pool.query(
        'insert into budget_entry (advertiser_id, kind, amount_micros, reference, click_id) values ($1, $2, $3, $4, $5)',
        [id, kind, amount, reference, clickId],
      );
    await enter(advertiser.id, 5, 'invoice 1');
    expect(errorCode(await failureOf(enter(advertiser.id, 7, 'invoice 1')))).toBe('23505');
    await enter(other.id, 5, 'invoice 1');
    expect(errorCode(await failureOf(enter(advertiser.id, 0, 'invoice 2')))).toBe('23514');
    expect(errorCode(await failureOf(enter(advertiser.id, 5, '')))).toBe('23514');
    expect(errorCode(await failureOf(enter(advertiser.id, 5, 'invoice 3', 'gift')))).toBe('23514');
    expect(errorCode(await failureOf(enter(advertiser.id, 5, 'invoice 4', 'credit')))).toBe('23514');
    expect(errorCode(await failureOf(enter(advertiser.id, 5, 'invoice 5', 'top_up', uuidV7())))).toBe(
      '23514',
    );
    expect(errorCode(await failureOf(enter(999_999, 5, 'invoice 6')))).toBe('23503');
  });

  it('refuse to close a day twice', async () => {
    const close = (day: string) =>
      database.pool.query(`insert into closed_day values ($1, 1, 1, 'charged', 1, 1)`, [day]);
    const closeSpool = (day: string, spoolId: string) =>
      database.pool.query(`insert into closed_day_spool values ($1, $2, 'charged', 1)`, [day, spoolId]);
    const spoolId = uuidV7();
    await close('2020-01-01');
    await close('2020-01-02');
    expect(errorCode(await failureOf(close('2020-01-01')))).toBe('23505');
    await closeSpool('2020-01-01', spoolId);
    await closeSpool('2020-01-01', uuidV7());
    expect(errorCode(await failureOf(closeSpool('2020-01-01', spoolId)))).toBe('23505');
  });

  it('refuse a second dead letter with the same identity', async () => {
    const reject = () =>
      database.pool.query(
        `insert into dead_letter (identity, reason, detail, counted) values ('one', 'poison', '', true)`,
      );
    await reject();
    expect(errorCode(await failureOf(reject()))).toBe('23505');
  });

  it.each([-1, 1_000_000_000_000])('refuse a correction of a spool to %d clicks', async (accepted) => {
    const statement = `insert into spool_correction (spool_id, accepted_before, accepted_after, reason) values ($1, 0, $2, 'x')`;
    const error = await failureOf(database.pool.query(statement, [uuidV7(), accepted]));
    expect(errorCode(error)).toBe('23514');
  });

  it('refuse a second row of ledger_window', async () => {
    const insert = (one: boolean) =>
      database.pool.query(
        `insert into ledger_window (one, click_floor, click_ahead, nonce_floor, nonce_ahead) values ($1, now(), now(), now(), now())`,
        [one],
      );
    expect(errorCode(await failureOf(insert(true)))).toBe('23505');
    expect(errorCode(await failureOf(insert(false)))).toBe('23514');
  });

  it('refuse a price of 0 or above the maximum, and a cap of 0', async () => {
    const { ad, campaign } = await addAccount(database.pool);
    for (const [statement, id] of [
      ['update ad set price_micros = 0 where id = $1', ad.id],
      ['update ad set price_micros = 1000000000000001 where id = $1', ad.id],
      ['update campaign set cap_micros = 0 where id = $1', campaign.id],
    ] as const) {
      expect(errorCode(await failureOf(database.pool.query(statement, [id])))).toBe('23514');
    }
  });

  it('refuse to move an ad to another campaign, and an ad whose campaign belongs to another advertiser', async () => {
    const { ad } = await addAccount(database.pool);
    const { campaign, advertiser } = await addAccount(database.pool);
    const move = 'update ad set campaign_id = $2, advertiser_id = $3 where id = $1';
    expect(errorCode(await failureOf(database.pool.query(move, [ad.id, campaign.id, advertiser.id])))).toBe(
      '23001',
    );
    const insert = `insert into ad (campaign_id, advertiser_id, price_micros, url_template) values ($1, $2, 1, 'x')`;
    expect(errorCode(await failureOf(database.pool.query(insert, [campaign.id, ad.advertiserId])))).toBe(
      '23503',
    );
    expect(await updateAd(database.pool, ad.id, { priceMicros: 7n })).toMatchObject({ priceMicros: 7n });
  });
});

describe('a charge whose statements fail', () => {
  it('rolls back the batch; a violated constraint is an invariant failure', async () => {
    const own = await createTestDatabase();
    try {
      const { ad } = await addAccount(own.pool);
      await own.pool.query(
        `create function overspend() returns trigger language plpgsql as
           'begin new.spent_micros := new.budget_micros + 1; return new; end'`,
      );
      await own.pool.query(
        `create trigger overspend before update of spent_micros on advertiser for each row execute function overspend()`,
      );
      const record = clickRecord({ ad, nonce: uuidV7() });
      const error = await failureOf(chargeClicks(own.pool, [record], OPTIONS));
      expect(failureKind(error)).toBe('invariant');
      const { rows } = await own.pool.query<{ rows: number }>(
        `select (select count(*)::int from ledger) + (select count(*)::int from spent_nonce) +
           (select count(*)::int from spool_counter) as rows`,
      );
      expect(rows).toEqual([{ rows: 0 }]);
      await own.pool.query('drop trigger overspend on advertiser');
      expect(await chargeBatchTwice(own.pool, [record])).toEqual(['charged']);
      await expectBalanced(own.pool);
    } finally {
      await own.drop();
    }
  });

  it('is a transient failure if a partition inside the window is missing, and succeeds when it exists', async () => {
    const own = await createTestDatabase();
    try {
      const { ad } = await addAccount(own.pool);
      const day = dayStart(Date.now()) + 3 * DAY_MS;
      const partition = partitionName('ledger', day);
      await own.pool.query(`alter table ledger detach partition ${partition}`);
      const record = clickRecord({ ad, clickedAt: day + 5 });
      const error = await failureOf(chargeClicks(own.pool, [record], OPTIONS));
      expect(errorCode(error)).toBe('23514');
      expect(failureKind(error)).toBe('transient');
      await own.pool.query(attach(partition, day));
      expect(await chargeBatchTwice(own.pool, [record])).toEqual(['charged']);
      await expectBalanced(own.pool);
    } finally {
      await own.drop();
    }
  });
});

function attach(partition: string, dayMs: number): string {
  const [from, to] = [dayMs, dayMs + DAY_MS].map((time) => uuidFloor(time));
  return `alter table ledger attach partition ${partition} for values from ('${from}') to ('${to}')`;
}
