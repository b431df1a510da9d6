import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DAY_MS } from '../../../common/unix-time.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import { deleteUnusedUserAgents } from '../../../ledger/charge/user-agents.ts';
import { readEvidence } from '../../../ledger/clicks/evidence.ts';
import { dropClosedDays, maintain } from '../../../ledger/maintenance.ts';
import {
  AHEAD_DAYS,
  dayStart,
  isoDay,
  listPartitionDays,
  partitionName,
} from '../../../ledger/partitions.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatchTwice, expectBalanced } from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord, type NamedAd } from '../../support/records.ts';
import { RETENTION } from '../../support/retention.ts';

/** The template database has evidence of 14 days, those that clicks can have. */
const OPTIONS = { ...RETENTION, ledgerRetentionDays: 400, brokerRetentionDays: 7, acceptsStep: true };

let database: TestDatabase & { drop: () => Promise<void> };
let ad: NamedAd;
beforeEach(async () => {
  database = await createTestDatabase();
  ({ ad } = await addAccount(database.pool, { budget: '1000.00', price: '0.01' }));
});
afterEach(() => database.drop());

const today = () => dayStart(Date.now());

async function evidenceDays(): Promise<number[]> {
  const connection = await database.pool.connect();
  const days = await listPartitionDays(connection, 'click_evidence').finally(() => connection.release());
  return days.map((day) => Math.round((today() - day) / DAY_MS));
}

/** Days from the floor to today; `null` if no evidence is kept. */
async function floorDays(): Promise<number | null> {
  const { rows } = await database.pool.query<{ floor: Date | null }>(
    'select evidence_floor as floor from ledger_window',
  );
  const floor = rows[0]?.floor;
  return floor ? (today() - floor.getTime()) / DAY_MS : null;
}

/** Days from 14 days ago to the last one with a partition, as their distance from today. */
const daysFrom = (first: number) =>
  Array.from({ length: first + AHEAD_DAYS + 1 }, (_, index) => first - index);

async function clickOf(daysAgo: number) {
  const record = clickRecord({ ad, clickedAt: Date.now() - daysAgo * DAY_MS });
  expect(await chargeBatchTwice(database.pool, [record])).toEqual(['charged']);
  return record;
}

const run = (evidenceDays: number, more: Partial<typeof OPTIONS> = {}) =>
  maintain(database.pool, { ...OPTIONS, evidenceDays, ...more }, silent);
const letAnHourPass = () =>
  database.pool.query(`update ledger_window set floor_raised_at = now() - interval '61 minutes'`);

describe('maintenance', () => {
  it('drops the evidence of days past its retention an hour after it has raised the floor', async () => {
    const [old, recent] = [await clickOf(6), await clickOf(5)];
    expect(await floorDays()).toBe(14);
    await run(5);
    expect(await floorDays()).toBe(5);
    expect(await evidenceDays()).toEqual(daysFrom(14));
    expect(await readEvidence(database.pool, old.click.clickId)).not.toBeNull();
    const late = await clickOf(6);
    expect(await readEvidence(database.pool, late.click.clickId)).toBeNull();
    await letAnHourPass();
    await run(5);
    expect(await evidenceDays()).toEqual(daysFrom(5));
    expect(await readEvidence(database.pool, old.click.clickId)).toBeNull();
    expect(await readEvidence(database.pool, recent.click.clickId)).not.toBeNull();
    const { rowCount } = await database.pool.query('select from ledger');
    expect(rowCount).toBe(3);
    await expectBalanced(database.pool);
  });

  it('keeps none with 0, at once for new clicks, and drops all an hour later', async () => {
    const before = await clickOf(0);
    await run(0, { acceptsStep: false });
    expect(await floorDays()).toBeNull();
    const after = await clickOf(0);
    expect(await readEvidence(database.pool, before.click.clickId)).not.toBeNull();
    expect(await readEvidence(database.pool, after.click.clickId)).toBeNull();
    await letAnHourPass();
    await run(0, { acceptsStep: false });
    expect(await evidenceDays()).toEqual([]);
    await clickOf(3);
    await expectBalanced(database.pool);
  });

  it('keeps evidence again after 0, and the days that it has not dropped yet', async () => {
    const before = await clickOf(0);
    await run(0);
    await run(90);
    expect(await floorDays()).toBe(14);
    await dropClosedDays(database.pool, silent, 0);
    expect(await readEvidence(database.pool, before.click.clickId)).not.toBeNull();
    const after = await clickOf(13);
    expect(await readEvidence(database.pool, after.click.clickId)).not.toBeNull();
    await run(0);
    await dropClosedDays(database.pool, silent, 0);
    expect(await evidenceDays()).toEqual([]);
    await run(3);
    expect(await floorDays()).toBe(3);
    expect(await evidenceDays()).toEqual(daysFrom(3));
    const last = await clickOf(3);
    expect(await readEvidence(database.pool, last.click.clickId)).not.toBeNull();
  });

  it('raises the floor by at most 3 days a run, as the others', async () => {
    await expect(run(9, { acceptsStep: false })).rejects.toMatchObject({
      code: 'clock_step',
      message: expect.stringMatching(
        /^This run would close 5 days of evidence, from .*EVIDENCE_RETENTION_DAYS/,
      ),
    });
    expect(await floorDays()).toBe(14);
    await run(11, { acceptsStep: false });
    expect(await floorDays()).toBe(11);
  });
});

it('The rollup lets the block range indexes cover the full ranges of today, and all of yesterday', async () => {
  // A range of evidence has 64 pages of about 90 rows, so these are three full ranges and a part of one.
  const clicks = 20_000;
  for (const daysAgo of [1, 0]) {
    await clickOf(daysAgo);
    await database.pool.query(
      'insert into click_evidence (click_id, user_agent_id, published_at) select id, 1, now() from unnest($1::uuid[]) id',
      [Array.from({ length: clicks }, (_, index) => uuidV7(today() - daysAgo * DAY_MS + index))],
    );
  }
  await rollUp(database.pool);
  const summarizedNow = async (dayMs: number) => {
    const { rows } = await database.pool.query<{ ranges: number }>(
      'select brin_summarize_new_values(indexrelid) as ranges from pg_index where indrelid = $1::regclass',
      [partitionName('click_evidence', dayMs)],
    );
    return rows.map(({ ranges }) => ranges);
  };
  expect(await summarizedNow(today())).toEqual([1]);
  expect(await summarizedNow(today() - DAY_MS)).toEqual([0]);
});

describe('texts of user agents', () => {
  const texts = async () =>
    (await database.pool.query<{ text: string }>('select text from user_agent order by text')).rows.map(
      ({ text }) => text,
    );
  const add = (daysAgo: number) =>
    database.pool.query('insert into user_agent (id, text, last_day) values ($1, $2, $3)', [
      daysAgo,
      `${String(daysAgo).padStart(3)} days`,
      isoDay(today() - daysAgo * DAY_MS),
    ]);

  it('are deleted once no kept evidence can name them', async () => {
    for (const daysAgo of [0, 14, 14 + AHEAD_DAYS + 2, 14 + AHEAD_DAYS + 3, 400]) await add(daysAgo);
    await run(90);
    expect(await texts()).toEqual(['  0 days', ' 14 days', ' 23 days']);
  });

  it('of yesterday and today stay for the caches of processors when no evidence is kept', async () => {
    for (const daysAgo of [0, 1, 2, 3]) await add(daysAgo);
    await run(0);
    expect(await texts()).toEqual(['  0 days', '  1 days']);
  });

  it('are deleted in pieces, but for one that a charge confirms at the same time', async () => {
    await database.pool.query(
      `insert into user_agent (id, text, last_day) select n, n, current_date - 400 from generate_series(1, 12000) n`,
    );
    const connection = await database.pool.connect();
    await connection.query('begin');
    await connection.query('update user_agent set last_day = current_date where id = 7');
    const deleted = deleteUnusedUserAgents(database.pool);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await connection.query('commit');
    connection.release();
    await deleted;
    expect(await texts()).toEqual(['7']);
  });
});
