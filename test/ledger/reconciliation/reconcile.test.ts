import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BrokerBacklog } from '../../../brokers/backlog.ts';
import { postgresBacklog } from '../../../brokers/postgres/backlog.ts';
import { createPostgresPublisher } from '../../../brokers/postgres/publisher.ts';
import { type Connection, inTransaction } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import type { ReadClick, ReadRecord } from '../../../contract/click-event.ts';
import { addAd } from '../../../ledger/accounts/ads.ts';
import { discardDeadLetter, listDeadLetters } from '../../../ledger/charge/dead-letters.ts';
import { createDayPartitions, dropClosedDays } from '../../../ledger/maintenance.ts';
import { dayStart } from '../../../ledger/partitions.ts';
import { type Reconciliation, reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import { appendSpoolCounters } from '../../../ledger/spools/counters.ts';
import { mergeSpoolCounters } from '../../../ledger/spools/merge-counters.ts';
import { chargeClicks, settle } from '../../../processor/charge/charge-clicks.ts';
import { redrive } from '../../../processor/charge/redrive.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { clickEvent, clickRecord, TestSpool, unreadableRecord } from '../../support/records.ts';

const OPTIONS = { clickAgeMaxDays: 14 };
let database: TestDatabase & { drop: () => Promise<void> };
let account: Account;
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase({ poolSize: 4 });
  account = await addAccount(database.pool, { cap: '100.00' });
  spool = new TestSpool();
  // Correct rows in addition to the wrong ones of the tests.
  await chargeClicks(database.pool, [click(), click({ invalid: 'bot' }), click()], OPTIONS);
});
afterEach(() => database.drop());

function click(overrides: { invalid?: 'bot'; nonce?: string } = {}): ReadClick {
  return spool.click({ ad: account.ad, ...overrides });
}

/** Settles a batch and runs a wrong statement in the same transaction. */
function settleWrongly(batch: readonly ReadRecord[], wrong: (connection: Connection) => Promise<unknown>) {
  return inTransaction(database.pool, async (connection) => {
    await settle(connection, batch, OPTIONS);
    await wrong(connection);
  });
}

/** Reconciles shallow and deep, and checks that merging the counters does not change the result. */
async function reconcileBoth(): Promise<{ shallow: Reconciliation; deep: Reconciliation }> {
  const before = await reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
  await mergeSpoolCounters(database.pool);
  const deep = await reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
  expect(deep).toEqual(before);
  return { shallow: await reconcile(database.pool, { brokers: [postgresBacklog] }), deep };
}

const drop = (record: ReadClick) => (connection: Connection) =>
  connection.query('delete from ledger where click_id = $1', [record.click.clickId]);

const insertRow = (from: ReadClick, clickId: string) => (connection: Connection) =>
  connection.query(
    `insert into ledger (click_id, spool_id, sequence, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome)
     select $2, spool_id, sequence, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome
     from ledger where click_id = $1`,
    [from.click.clickId, clickId],
  );

describe('a correct ledger', () => {
  it('balances, with all counts', async () => {
    const { shallow, deep } = await reconcileBoth();
    for (const reconciliation of [shallow, deep]) {
      expect(reconciliation).toMatchObject({
        accepted: 3,
        charged: 2,
        invalid: 1,
        balanced: true,
        missing: 0,
        problems: [],
      });
    }
  });
});

describe('reconciliation finds', () => {
  it('a charged click that was counted and lost its row', async () => {
    const record = click();
    await settleWrongly([record], drop(record));
    const { deep } = await reconcileBoth();
    expect(deep.balanced).toBe(false);
    expect(deep.problems.join('\n')).toMatch(`outcomes of spool ${spool.id}`);
    expect(deep.problems.join('\n')).toMatch(`advertiser ${account.advertiser.id}`);
  });

  it('an invalid click that was counted and lost its row', async () => {
    const record = click({ invalid: 'bot' });
    await settleWrongly([record], drop(record));
    expect((await reconcileBoth()).deep.balanced).toBe(false);
  });

  it('a spool that lost its only row', async () => {
    const other = new TestSpool();
    const record = other.click({ ad: account.ad, invalid: 'bot' });
    await settleWrongly([record], drop(record));
    expect((await reconcileBoth()).deep.balanced).toBe(false);
  });

  it('a lost row with another row in its place', async () => {
    const [good, lost] = [click(), click()];
    await settleWrongly([good, lost], async (connection) => {
      await insertRow(good, uuidV7())(connection);
      await drop(lost)(connection);
    });
    expect((await reconcileBoth()).deep.problems.join('\n')).toMatch(`sequences of spool ${spool.id}`);
  });

  it('a lost dead letter', async () => {
    const record = unreadableRecord(Buffer.from('x'), spool.next());
    await settleWrongly([record], (connection) =>
      connection.query('delete from dead_letter where spool_id = $1', [spool.id]),
    );
    expect((await reconcileBoth()).deep.balanced).toBe(false);
  });

  it('a charge without a row and without counters, if deep', async () => {
    await inTransaction(database.pool, (connection) =>
      connection.query('update advertiser set spent_micros = spent_micros + 1'),
    );
    const { deep, shallow } = await reconcileBoth();
    expect(deep.balanced).toBe(false);
    expect(deep.advertisers[0]).toMatchObject({
      balanced: false,
      chargedMicros: 500_000n,
      spentMicros: 500_001n,
    });
    expect(shallow.balanced).toBe(true); // only a recount of the ledger shows it
  });

  it('a row without a charge', async () => {
    await settleWrongly([click()], (connection) =>
      connection.query('update advertiser set spent_micros = spent_micros - 250000'),
    );
    expect((await reconcileBoth()).deep.balanced).toBe(false);
  });

  it('a capped campaign that was not charged', async () => {
    await settleWrongly([click()], (connection) =>
      connection.query('update campaign set spent_micros = 500000'),
    );
    expect((await reconcileBoth()).deep.problems.join('\n')).toMatch(`campaign spent ${account.campaign.id}`);
  });

  it('two rows with one sequence', async () => {
    const record = click();
    await settleWrongly([record], insertRow(record, uuidV7()));
    expect((await reconcileBoth()).deep.balanced).toBe(false);
  });

  it('a click that was counted twice', async () => {
    const record = click();
    const again = { spoolId: spool.id, accepted: 0, charged: 1, over_budget: 0, invalid: 0, rejected: 0 };
    const sequences = [record.from?.sequence ?? 0];
    await settleWrongly([record], (connection) => appendSpoolCounters(connection, [{ ...again, sequences }]));
    const { deep, shallow } = await reconcileBoth();
    expect(shallow.balanced).toBe(false);
    expect(deep.balanced).toBe(false);
  });

  it('a link that was charged twice', async () => {
    const nonce = uuidV7();
    await settleWrongly([click({ nonce })], (connection) => connection.query('delete from spent_nonce'));
    await chargeClicks(database.pool, [click({ nonce })], OPTIONS);
    expect((await reconcileBoth()).deep.problems.join('\n')).toMatch(
      `nonce ${nonce}: used by two settled clicks`,
    );
  });

  it('a click that was both charged and rejected, under another identity', async () => {
    const record = click();
    await settleWrongly([record], async (connection) => {
      await connection.query(
        `insert into dead_letter (identity, click_id, reason, detail, counted) values ('another', $1, 'poison', '', true)`,
        [record.click.clickId],
      );
      const none = { spoolId: null, accepted: 0, charged: 0, over_budget: 0, invalid: 0 };
      await appendSpoolCounters(connection, [{ ...none, rejected: 1, sequences: [] }]);
    });
    expect((await reconcileBoth()).deep.balanced).toBe(false);
  });

  it('no click that was charged under one record key and rejected under others: each key has one outcome', async () => {
    const ad = { ...account.ad, id: account.ad.id + 1 };
    const event = clickEvent({ ad });
    const spools = [new TestSpool(), new TestSpool(), new TestSpool()];
    const [first, second, third] = spools.map((one) => clickRecord({ ...event, ad, from: one.next() }));
    const charge = (record: typeof first) => chargeBatch(database.pool, record ? [record] : []);
    expect([await charge(first), await charge(second)]).toEqual([
      ['rejected: unknown_ad'],
      ['rejected: unknown_ad'],
    ]);
    // Each record key is one accepted and one rejected click of its spool.
    expect((await reconcileBoth()).deep).toMatchObject({
      balanced: true,
      accepted: 5,
      rejected: 2,
      missing: 0,
    });
    await addAd(database.pool, account.campaign.id, 250_000n, 'https://example.com/');
    expect(await charge(third)).toEqual(['charged']);
    const { problems, advertisers } = (await reconcileBoth()).deep;
    expect(problems).toEqual([]);
    expect(advertisers[0]?.balanced).toBe(true);
  });

  it('no click of whose two dead letters one was redriven, also after the other was discarded', async () => {
    const ad = { ...account.ad, id: account.ad.id + 1 };
    const event = clickEvent({ ad });
    for (const one of [new TestSpool(), new TestSpool()])
      expect(await chargeBatch(database.pool, [clickRecord({ ...event, ad, from: one.next() })])).toEqual([
        'rejected: unknown_ad',
      ]);
    await addAd(database.pool, account.campaign.id, 250_000n, 'https://example.com/');
    const letters = await listDeadLetters(database.pool);
    const outcomes: string[] = [];
    for (const { id } of letters) outcomes.push((await redrive(database.pool, id)).outcome);
    expect(outcomes).toEqual(['charged', 'duplicate']);
    expect((await listDeadLetters(database.pool)).map(({ id }) => id)).toEqual([letters[1]?.id]);
    expect((await reconcileBoth()).deep).toMatchObject({ problems: [], balanced: true, rejected: 1 });
    await discardDeadLetter(database.pool, letters[1]?.id ?? 0n);
    expect((await reconcileBoth()).deep).toMatchObject({ problems: [], balanced: true, rejected: 1 });
  });

  it('a click that was charged and rejected under one record key', async () => {
    const record = click();
    await settleWrongly([record], async (connection) => {
      await connection.query(
        `insert into dead_letter (identity, click_id, spool_id, sequence, reason, detail, counted) values ('another', $1, $2, $3, 'poison', '', true)`,
        [record.click.clickId, record.from?.spoolId, record.from?.sequence],
      );
    });
    expect((await reconcileBoth()).deep.problems).toContain(
      `click ${record.click.clickId}: both charged and rejected`,
    );
  });

  it('a lost budget entry, even without recounting the ledger', async () => {
    await database.pool.query('delete from budget_entry');
    expect((await reconcileBoth()).shallow).toMatchObject({
      balanced: false,
      advertisers: [{ balanced: false }],
    });
  });
});

describe('the counters alone', () => {
  it('do not balance if a sequence was settled and not counted', async () => {
    const counts = { spoolId: spool.id, accepted: 0, charged: 0, over_budget: 0, invalid: 0, rejected: 0 };
    await inTransaction(database.pool, (connection) =>
      appendSpoolCounters(connection, [{ ...counts, sequences: [4] }]),
    );
    const { shallow } = await reconcileBoth();
    expect(shallow).toMatchObject({ balanced: false, accepted: 4, charged: 2, missing: 0 });
    expect(shallow.problems).toEqual([`spool ${spool.id}: 4 clicks accepted, 3 accounted for`]);
  });
});

describe('closed days', () => {
  it('are part of the charges of advertisers, capped campaigns and spools', async () => {
    const options = {
      clickAgeDays: 14,
      linkLifeDays: 30,
      evidenceDays: 30,
      ledgerRetentionDays: 400,
      brokerRetentionDays: 7,
    };
    const old = spool.click({ ad: account.ad, clickedAt: Date.now() - 10 * DAY_MS });
    await chargeClicks(database.pool, [old], OPTIONS);
    await database.pool.query(
      `update ledger_window set click_floor = $1, floor_raised_at = now() - interval '2 hours'`,
      [new Date(dayStart(Date.now()) - 5 * DAY_MS)],
    );
    await dropClosedDays(database.pool, silent);
    expect((await database.pool.query('select from closed_day')).rowCount).toBe(1);
    const { deep } = await reconcileBoth();
    expect(deep).toMatchObject({ balanced: true, charged: 3, problems: [] });
    expect(deep.advertisers[0]?.chargedMicros).toBe(750_000n);
    await createDayPartitions(database.pool, options);
    // A lost sum shows in all three.
    await database.pool.query('delete from closed_day');
    const problems = (await reconcileBoth()).deep.problems.join('\n');
    expect(problems).toMatch(
      `campaign spent ${account.campaign.id} (Test campaign): stored 750000 micros, the ledger has 500000`,
    );
    expect(problems).toContain(`advertiser ${account.advertiser.id} (Test advertiser): budget `);
    await database.pool.query('delete from closed_day_spool');
    expect((await reconcileBoth()).deep.problems.join('\n')).toMatch(
      `outcomes of spool ${spool.id}: stored 3 charged`,
    );
  });
});

describe('a watermark in a broker', () => {
  it.each([
    [true, 10, 7],
    [false, 3, 0],
  ])(
    'counts as accepted only if the broker is in the snapshot: %s',
    async (isInSnapshot, accepted, missing) => {
      const broker: BrokerBacklog = {
        isInSnapshot,
        readWaiting: (_, take) => take([{ ...spool.watermark(), accepted: 10 }]),
        rewind: () => Promise.reject(new Error('Expected no rewind')),
      };
      expect(await reconcile(database.pool, { brokers: [broker] })).toMatchObject({
        accepted,
        missing,
        balanced: true,
      });
    },
  );
});

describe('a click that was accepted and did not arrive', () => {
  it('is missing, with its sequence, after a watermark above it', async () => {
    const lost = [click(), click()];
    const found = click();
    await chargeClicks(database.pool, [found], OPTIONS);
    const last = click();
    await chargeClicks(database.pool, [spool.watermark()], OPTIONS);
    const { shallow, deep } = await reconcileBoth();
    expect(deep).toMatchObject({ accepted: 7, charged: 3, invalid: 1, missing: 3 });
    expect(shallow).toMatchObject({ missing: 3 });
    expect(deep.spools[0]?.gaps).toEqual([
      { start: 4, end: 6 },
      { start: 7, end: 8 },
    ]);
    await chargeClicks(database.pool, [...lost, last], OPTIONS);
    expect((await reconcileBoth()).deep).toMatchObject({ accepted: 7, missing: 0, balanced: true });
    click();
    await chargeClicks(database.pool, [spool.watermark()], OPTIONS);
    expect((await reconcileBoth()).deep).toMatchObject({ accepted: 8, missing: 1, balanced: true });
  });
});

describe('a click in flight', () => {
  it('is counted once from the chunks that are not settled', async () => {
    const publisher = createPostgresPublisher(database.pool);
    const waiting = [click(), click(), unreadableRecord(null, spool.next())];
    await publisher.publish(waiting);
    await publisher.publish([...waiting.slice(1), unreadableRecord(Buffer.from('foreign'), null)]);
    await publisher.publishEverywhere(spool.watermark());
    const { shallow } = await reconcileBoth();
    expect(shallow).toMatchObject({ accepted: 6, charged: 2, inFlight: 3, missing: 0, balanced: true });
  });

  it('is not counted if it is already charged or rejected', async () => {
    const publisher = createPostgresPublisher(database.pool);
    const chunk = [
      click(),
      click(),
      click(),
      unreadableRecord(null, spool.next()),
      unreadableRecord(null, spool.next()),
    ];
    await publisher.publish([...chunk, spool.watermark()]);
    await chargeClicks(
      database.pool,
      [1, 3].flatMap((index) => chunk[index] ?? []),
      OPTIONS,
    );
    const { deep } = await reconcileBoth();
    expect(deep).toMatchObject({
      accepted: 8,
      charged: 3,
      rejected: 1,
      inFlight: 3,
      missing: 0,
      balanced: true,
    });
    await chargeClicks(database.pool, chunk, OPTIONS);
    expect((await reconcileBoth()).deep).toMatchObject({
      accepted: 8,
      inFlight: 0,
      missing: 0,
      balanced: true,
    });
  });

  it('is not missing above the last watermark', async () => {
    const [one, late, other] = [click(), click(), click()];
    const before = await reconcile(database.pool, { brokers: [postgresBacklog] });
    await chargeClicks(database.pool, [one, other], OPTIONS);
    const { deep } = await reconcileBoth();
    expect(deep.accepted).toBe(before.accepted + 2);
    expect(deep).toMatchObject({ missing: before.missing, balanced: true });
    await chargeClicks(database.pool, [late, spool.watermark()], OPTIONS);
    expect((await reconcileBoth()).deep).toMatchObject({
      accepted: before.accepted + 3,
      missing: before.missing,
    });
  });

  it('does not hide a missing click', async () => {
    const publisher = createPostgresPublisher(database.pool);
    click();
    await publisher.publish([click(), spool.watermark()]);
    expect((await reconcileBoth()).deep).toMatchObject({ accepted: 5, inFlight: 1, missing: 1 });
    await database.pool.query('delete from broker_chunk');
    await chargeClicks(database.pool, [spool.watermark()], OPTIONS);
    expect((await reconcileBoth()).deep).toMatchObject({ accepted: 5, inFlight: 0, missing: 2 });
  });
});
