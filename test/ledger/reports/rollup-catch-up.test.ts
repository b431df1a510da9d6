import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPool } from '../../../common/postgres/postgres.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord } from '../../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

/** Charges `count` clicks until now, one every `everyMs`. */
async function charge(count: number, everyMs = 5_000): Promise<void> {
  const { ad } = await addAccount(database.pool, { budget: '1000.00' });
  const clicks = Array.from({ length: count }, (_, at) =>
    clickRecord({ ad, clickedAt: Date.now() - at * everyMs }),
  );
  await chargeBatch(database.pool, clicks);
}

async function sumOfClicks(): Promise<number> {
  const { rows } = await database.pool.query<{ clicks: number }>(
    'select sum(clicks)::int as clicks from click_rollup',
  );
  return rows[0]?.clicks ?? 0;
}

it('The rollup catches up after a long stop', async () => {
  await charge(1);
  await database.pool.query("update click_rollup_state set rolled_to = rolled_to - interval '1 day'");
  const before = Date.now();
  expect((await rollUp(database.pool)).getTime()).toBeGreaterThan(before - 2_000);
  expect(await sumOfClicks()).toBe(1);
});

it('The rollup catches up in pieces that are shorter the more was settled', async () => {
  const minutes = 90;
  await charge(minutes, 900_000);
  // A click a minute, each in another quarter of an hour, so that each is a row of the rollup, which takes 50 ms.
  await database.pool.query(
    `update ledger set settled_at = now() - (now() - clicked_at) / 15 - interval '1 minute';
     update click_rollup_state set rolled_to = now() - interval '100 minutes';
     create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.05); return new; end';
     create trigger slow before insert on click_rollup for each row execute function slow()`,
  );
  // An hour at once would take 3 s.
  const pool = createPool(database.url, 'test', 1, silent.warn, 1_500);
  await rollUp(pool).finally(() => pool.end());
  expect(await sumOfClicks()).toBe(minutes);
}, 30_000);

it('The rollup skips days in which nothing was settled, and adds what was settled before and after them', async () => {
  await charge(2);
  await database.pool.query(
    `update ledger set settled_at = now() - interval '20 days' where click_id = (select max(click_id::text)::uuid from ledger);
     update click_rollup_state set rolled_to = now() - interval '30 days';
     create sequence spans;
     create function count_span() returns trigger language plpgsql as 'begin perform nextval(''spans''); return new; end';
     create trigger count_span before update on click_rollup_state for each row execute function count_span()`,
  );
  await rollUp(database.pool);
  expect(await sumOfClicks()).toBe(2);
  const { rows } = await database.pool.query<{ spans: bigint }>('select last_value as spans from spans');
  // In spans of ten minutes they are thousands.
  expect(Number(rows[0]?.spans)).toBeLessThan(400);
}, 30_000);

it('The rollup catches up though each transaction takes long, whatever it adds', async () => {
  await charge(28);
  await database.pool.query(
    `update ledger set settled_at = clicked_at;
     update click_rollup_state set rolled_to = now() - interval '135 seconds';
     create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(2.1); return new; end';
     create trigger slow before update on click_rollup_state for each row execute function slow()`,
  );
  const before = Date.now();
  expect((await rollUp(database.pool)).getTime()).toBeGreaterThan(before - 2_000);
}, 60_000);
