import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor, uuidV7 } from '../../common/uuid.ts';
import { creditClick } from '../../ledger/accounts/budget-entries.ts';
import { dropClosedDays, maintain } from '../../ledger/maintenance.ts';
import {
  AHEAD_DAYS,
  dayStart,
  extendPartitions,
  listPartitionDays,
  PARTITIONED,
  type Partitioned,
  partitionBounds,
} from '../../ledger/partitions.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { mergeSpoolCounters } from '../../ledger/spools/merge-counters.ts';
import {
  chargeBatch,
  chargeBatchTwice,
  expectBalanced,
  untilWaitingForLock,
} from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord, TestSpool, unreadableRecord } from '../support/records.ts';
import { RETENTION } from '../support/retention.ts';

/** Retains five days of the ledger and of nonces. The template database has 14 and 44 days. */
const SHORT = {
  clickAgeDays: 2,
  linkLifeDays: 3,
  evidenceDays: 5,
  ledgerRetentionDays: 5,
  brokerRetentionDays: 7,
  acceptsStep: true,
};

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

async function daysOf(table: Partitioned): Promise<number[]> {
  const connection = await database.pool.connect();
  return listPartitionDays(connection, table).finally(() => connection.release());
}

const today = () => dayStart(Date.now());

/** Settles clicks of ten days: charged, over budget, invalid and rejected, with a nonce, and without a spool id. */
async function tenDaysOfClicks() {
  const { ad } = await addAccount(database.pool, { budget: '4.00', price: '0.25' });
  const spool = new TestSpool();
  const records = Array.from({ length: 10 }, (_, ago) => {
    const clickedAt = today() - ago * DAY_MS + 1_000;
    return [
      spool.click({ ad, clickedAt, nonce: uuidV7(clickedAt - 500) }),
      spool.click({ ad, clickedAt }),
      spool.click({ ad, clickedAt, invalid: 'bot' }),
      spool.click({ ad: { ...ad, id: 2_000_000_000 }, clickedAt }),
      clickRecord({ ad, clickedAt, from: null, invalid: 'bot' }),
    ];
  }).flat();
  await chargeBatchTwice(database.pool, [
    ...records,
    unreadableRecord(null, spool.next()),
    spool.watermark(),
  ]);
  return { ad, spool, records };
}

describe('merging counters', () => {
  it('does not change the reconciliation', async () => {
    await tenDaysOfClicks();
    const before = await expectBalanced(database.pool);
    await mergeSpoolCounters(database.pool);
    expect((await database.pool.query('select from spool_counter')).rowCount).toBe(0);
    expect(await expectBalanced(database.pool)).toEqual(before);
    await tenDaysOfClicks();
    const { spools } = await expectBalanced(database.pool);
    expect(spools).toHaveLength(2);
    await mergeSpoolCounters(database.pool);
    expect((await expectBalanced(database.pool)).spools).toEqual(spools);
  });

  it('merges more rows than fit one transaction, with several merges and charges running', async () => {
    const { ad } = await addAccount(database.pool, { budget: '10000.00' });
    const { id } = new TestSpool();
    await database.pool.query(
      'insert into spool_counter (spool_id, accepted) select $1, 0 from generate_series(1, 31000)',
      [id],
    );
    const spool = new TestSpool();
    const handlers = Array.from({ length: 30 }, () =>
      chargeBatch(database.pool, [spool.click({ ad }), spool.click({ ad })]),
    );
    await Promise.all([...handlers, ...Array.from({ length: 4 }, () => mergeSpoolCounters(database.pool))]);
    await mergeSpoolCounters(database.pool);
    expect((await database.pool.query('select from spool_counter')).rowCount).toBe(0);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 60, charged: 60 });
  });
});

describe('partitions ahead', () => {
  it('are created once by twenty concurrent runs, without gaps, and the window covers them', async () => {
    const later = Date.now() + 4 * DAY_MS;
    const extend = () =>
      inTransaction(database.pool, (connection) => extendPartitions(connection, RETENTION, later));
    await Promise.all(Array.from({ length: 20 }, extend));
    for (const table of PARTITIONED) {
      const days = await daysOf(table);
      expect(days.at(-1)).toBe(partitionBounds(table, later + AHEAD_DAYS * DAY_MS).startMs);
      const ends = days.map((day) => partitionBounds(table, day).endMs);
      expect(days.slice(1)).toEqual(ends.slice(0, -1));
    }
    const read = () => database.pool.query('select * from ledger_window');
    const { rows: window } = await read();
    expect(window[0]?.click_ahead).toEqual(new Date(dayStart(later) + (AHEAD_DAYS + 1) * DAY_MS));
    await extend();
    await inTransaction(database.pool, (connection) => extendPartitions(connection, RETENTION, Date.now()));
    expect((await read()).rows).toEqual(window);
  });

  it('are created while a long transaction reads the ledger, without blocking charges', async () => {
    const { ad } = await addAccount(database.pool);
    const extended = await inTransaction(database.pool, async (reader) => {
      await reader.query('select count(*) from ledger');
      const later = Date.now() + DAY_MS;
      const extending = inTransaction(database.pool, (connection) =>
        extendPartitions(connection, RETENTION, later),
      );
      await Promise.race([extending, untilWaitingForLock(database.pool)]);
      // If it had to wait for the reader, it would fail with a lock timeout.
      expect(await chargeBatch(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
      return { extending };
    });
    await extended.extending;
  });

  it('cover the window up to its last id', async () => {
    const { ad } = await addAccount(database.pool);
    const { rows } = await database.pool.query(
      'select click_floor, click_ahead, nonce_floor from ledger_window',
    );
    const [window] = rows;
    const first = window.click_floor.getTime();
    const last = window.click_ahead.getTime() - 1;
    const nonce = `${uuidFloor(window.nonce_floor.getTime()).slice(0, 13)}-7000-8000-000000000000`;
    const batch = [
      clickRecord({ ad, clickedAt: first, nonce }),
      clickRecord({ ad, clickedAt: last, nonce: uuidV7(last) }),
    ];
    const outcomes = await chargeBatchTwice(database.pool, batch, { clickAgeMaxDays: 10_000 });
    expect(outcomes).toEqual(['charged', 'charged']);
    const outside = [clickRecord({ ad, clickedAt: first - 1 }), clickRecord({ ad, clickedAt: last + 1 })];
    const rejected = await chargeBatchTwice(database.pool, outside, { clickAgeMaxDays: 10_000 });
    expect(rejected).toEqual(['rejected: id_out_of_range', 'rejected: id_out_of_range']);
  });
});

describe('dropping a day', () => {
  it('happens an hour after the floor was raised, and the books still balance', async () => {
    const { records } = await tenDaysOfClicks();
    const before = await expectBalanced(database.pool);
    await maintain(database.pool, SHORT, silent);
    // The floor is raised, but no day is dropped yet: open transactions may have read the old floor.
    expect((await daysOf('ledger'))[0]).toBeLessThan(today() - SHORT.ledgerRetentionDays * DAY_MS);
    await database.pool.query(`update ledger_window set floor_raised_at = now() - interval '61 minutes'`);
    await maintain(database.pool, SHORT, silent);
    const floor = today() - 5 * DAY_MS;
    for (const table of PARTITIONED)
      expect((await daysOf(table))[0]).toBe(partitionBounds(table, floor).startMs);
    const { rows } = await database.pool.query<{ rows: number }>('select count(*)::int as rows from ledger');
    expect(rows[0]?.rows).toBe(
      records.filter(({ click }) => click.clickedAt > today() - 5 * DAY_MS).length * (4 / 5),
    );
    expect(await expectBalanced(database.pool)).toEqual(before);
    await mergeSpoolCounters(database.pool);
    expect(await expectBalanced(database.pool)).toEqual(before);
  });

  it('rejects clicks below the floor, and settles the others once', async () => {
    const { ad, records } = await tenDaysOfClicks();
    await maintain(database.pool, SHORT, silent);
    const below = clickRecord({ ad, clickedAt: today() - 5 * DAY_MS - 1 });
    const oldLink = clickRecord({ ad, nonce: uuidV7(today() - 5 * DAY_MS - 1) });
    const batch = [below, oldLink, ...records.slice(0, 25)];
    const outcomes = await chargeBatchTwice(database.pool, batch);
    expect(outcomes.slice(0, 2)).toEqual(['rejected: id_out_of_range', 'rejected: nonce_out_of_range']);
    expect(new Set(outcomes.slice(2))).toEqual(new Set(['duplicate']));
    await expectBalanced(database.pool);
  });

  it('is done once by several concurrent runs, while clicks are charged', async () => {
    const { ad } = await tenDaysOfClicks();
    await maintain(database.pool, SHORT, silent);
    const drop = () => dropClosedDays(database.pool, silent, 0);
    const charges = Array.from({ length: 20 }, () =>
      chargeBatch(database.pool, [clickRecord({ ad, invalid: 'bot' })]),
    );
    await Promise.all([drop(), drop(), drop(), ...charges]);
    expect((await daysOf('ledger'))[0]).toBe(today() - 5 * DAY_MS);
    await expectBalanced(database.pool);
  });

  it('charges nothing if its clicks are read from the broker again', async () => {
    const { records } = await tenDaysOfClicks();
    await maintain(database.pool, SHORT, silent);
    await dropClosedDays(database.pool, silent, 0);
    const spent = async () =>
      (await expectBalanced(database.pool)).advertisers.map((reconciliation) => reconciliation.spentMicros);
    const before = await spent();
    await chargeBatch(database.pool, records.slice(-5));
    expect(await spent()).toEqual(before);
  });

  it('makes a credit of its clicks impossible', async () => {
    const { records } = await tenDaysOfClicks();
    const oldest = records.at(-5)?.click.clickId ?? '';
    await maintain(database.pool, SHORT, silent);
    await dropClosedDays(database.pool, silent, 0);
    await expect(creditClick(database.pool, oldest)).rejects.toMatchObject({ code: 'unknown_click' });
  });

  it('lets a repeated credit of its clicks succeed as before, and adds nothing', async () => {
    const { ad, records } = await tenDaysOfClicks();
    const { rows } = await database.pool.query<{ id: string }>(
      "select click_id as id from ledger where outcome = 'charged' order by click_id limit 1",
    );
    const credited = rows[0]?.id ?? '';
    expect(records.some(({ click }) => click.clickId === credited)).toBe(true);
    const first = await creditClick(database.pool, credited);
    await maintain(database.pool, SHORT, silent);
    await dropClosedDays(database.pool, silent, 0);
    for (const advertiserIds of [null, [ad.advertiserId]])
      expect(await creditClick(database.pool, credited, advertiserIds)).toEqual({ ...first, entered: false });
    await expect(creditClick(database.pool, credited, [ad.advertiserId + 1])).rejects.toMatchObject({
      code: 'unknown_click',
    });
  });
});

it('Maintenance deletes settled chunks of the broker after their retention, and no others', async () => {
  const publisher = createPostgresPublisher(database.pool);
  const spool = new TestSpool();
  for (let chunk = 0; chunk < 3; chunk += 1) await publisher.publish([spool.click()]);
  await database.pool.query(`update broker_chunk set published_at = now() - interval '30 days'`);
  await database.pool.query(
    `update broker_chunk set settled_at = now() - interval '7 days 1 minute' where id = 1`,
  );
  await database.pool.query(
    `update broker_chunk set settled_at = now() - interval '6 days 23 hours' where id = 2`,
  );
  await maintain(database.pool, SHORT, silent);
  const { rows } = await database.pool.query('select id from broker_chunk order by id');
  expect(rows).toEqual([{ id: 2n }, { id: 3n }]);
  expect(await reconcile(database.pool, { brokers: [postgresBacklog] })).toMatchObject({ inFlight: 1 });
});

it.each([1, 1_000, 2_500])(
  'Maintenance deletes settled chunks in one run also behind %i that wait for ever',
  async (stuck) => {
    await database.pool.query(
      `insert into broker_chunk (record_count, payload, published_at, settled_at)
       select 1, '', now() - interval '30 days', case when n > $1 then now() - interval '8 days' end from generate_series(1, $1 + 1500) n`,
      [stuck],
    );
    await maintain(database.pool, SHORT, silent);
    const { rows } = await database.pool.query(
      'select count(*)::int as chunks, count(settled_at)::int as settled from broker_chunk',
    );
    expect(rows).toEqual([{ chunks: stuck, settled: 0 }]);
  },
);

it.each([
  ['both', { clickAgeDays: 300, ledgerRetentionDays: 400, linkLifeDays: 90 }, [5, 5]],
  ['of clicks, while that of nonces rises', { ledgerRetentionDays: 400, linkLifeDays: 1 }, [5, 3]],
  ['of nonces, while that of clicks rises', { ledgerRetentionDays: 4, linkLifeDays: 90 }, [4, 5]],
] as const)(
  'Maintenance never lowers a floor, for any retention of a later run: %s',
  async (_, later, [click, nonce]) => {
    const { ad } = await tenDaysOfClicks();
    await maintain(database.pool, SHORT, silent);
    await maintain(database.pool, { ...SHORT, ...later }, silent);
    const { rows } = await database.pool.query<{ click_floor: Date; nonce_floor: Date }>(
      'select click_floor, nonce_floor from ledger_window',
    );
    expect(rows[0]).toEqual({
      click_floor: new Date(today() - click * DAY_MS),
      nonce_floor: new Date(today() - nonce * DAY_MS),
    });
    const old = clickRecord({ ad, clickedAt: today() - 6 * DAY_MS });
    expect(await chargeBatchTwice(database.pool, [old])).toEqual(['rejected: id_out_of_range']);
  },
);

describe('a clock of the database server that jumps ahead', () => {
  const options = { ...RETENTION, ledgerRetentionDays: 14, brokerRetentionDays: 7 };
  const floors = async () => {
    const { rows } = await database.pool.query<{ click_floor: Date; nonce_floor: Date; click_ahead: Date }>(
      'select click_floor, nonce_floor, click_ahead from ledger_window',
    );
    return rows[0];
  };

  it.each([
    ['a month', 31, /^This run would close 31 days of the ledger, from \d{4}-.* \(at most 3 a run\)/],
    [
      'years',
      3 * 365,
      /^This run would create 1095 days of partitions, up to \d{4}-.* \(at most 100 a run\)/,
    ],
  ])('by %s drops no day, and the error says what to check', async (_, days, message) => {
    const { ad } = await addAccount(database.pool);
    const before = await floors();
    const run = maintain(database.pool, options, silent, Date.now() + days * DAY_MS);
    await expect(run).rejects.toMatchObject({ code: 'clock_step', message: expect.stringMatching(message) });
    await expect(run).rejects.toThrow('Check the clock of the database server (');
    expect(await floors()).toMatchObject({
      click_floor: before?.click_floor,
      nonce_floor: before?.nonce_floor,
    });
    await dropClosedDays(database.pool, silent, 0);
    const old = clickRecord({ ad, clickedAt: Date.now() - 13.5 * DAY_MS });
    expect(await chargeBatchTwice(database.pool, [old, clickRecord({ ad })])).toEqual(['charged', 'charged']);
  });

  it('by three days raises the floors, as after three days without a processor', async () => {
    const before = await floors();
    await maintain(database.pool, options, silent, Date.now() + 3 * DAY_MS);
    const after = await floors();
    expect((after?.click_floor.getTime() ?? 0) - (before?.click_floor.getTime() ?? 0)).toBe(3 * DAY_MS);
    await expect(maintain(database.pool, options, silent, Date.now() + 7 * DAY_MS)).rejects.toMatchObject({
      code: 'clock_step',
    });
    expect(await floors()).toMatchObject({ click_floor: after?.click_floor });
  });

  it('does not stop the other steps, and is accepted with acceptsStep', async () => {
    const { ad } = await addAccount(database.pool);
    await chargeBatch(database.pool, [clickRecord({ ad })]);
    const later = Date.now() + 31 * DAY_MS;
    await expect(maintain(database.pool, options, silent, later)).rejects.toThrow('--accept-step');
    expect((await database.pool.query('select from spool_counter')).rowCount).toBe(0);
    const before = await floors();
    await maintain(database.pool, { ...options, acceptsStep: true }, silent, later);
    expect((await floors())?.click_floor.getTime()).toBe((before?.click_floor.getTime() ?? 0) + 31 * DAY_MS);
  });
});
