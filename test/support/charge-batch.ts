import { expect } from 'vitest';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { type Reconciliation, reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { type ChargeOptions, chargeClicks } from '../../processor/charge/charge-clicks.ts';
import type { RecordResult } from '../../processor/charge/settlement.ts';

const OPTIONS: ChargeOptions = { clickAgeMaxDays: 14 };

/**
 * Delivers a batch twice, each time shuffled, and expects that the second delivery changes nothing. Returns the outcome of each record
 * of the first delivery, in the order of the batch: `charged`, `over_budget: cap`, `rejected: too_old`, …
 */
export async function chargeBatchTwice(
  pool: Pool,
  batch: readonly ReadRecord[],
  options: ChargeOptions = OPTIONS,
): Promise<string[]> {
  const first = await chargeBatch(pool, batch, options);
  const before = await settledRows(pool);
  const again = await chargeBatch(pool, batch, options);
  expect(new Set(again)).toEqual(
    new Set(again.map((outcome) => (outcome === 'watermark' ? 'watermark' : 'duplicate'))),
  );
  expect(await settledRows(pool)).toEqual(before);
  return first;
}

/** Delivers a batch once, shuffled. */
export async function chargeBatch(
  pool: Pool,
  batch: readonly ReadRecord[],
  options: ChargeOptions = OPTIONS,
): Promise<string[]> {
  const order = shuffle(batch.map((_, index) => index));
  const { outcomes } = await chargeClicks(
    pool,
    order.flatMap((index) => elsewhere(batch[index])),
    options,
  );
  return batch.map((_, index) => outcomeText(outcomes[order.indexOf(index)]));
}

/** A copy of a record as a broker delivers it after it was published twice: a record without a key of Tollway is identified by its position. */
function elsewhere(record: ReadRecord | undefined): readonly ReadRecord[] {
  if (record === undefined) return [];
  const foreign = record.is === 'unreadable' && record.from === null;
  return [foreign ? record : { ...record, position: `copy ${uuidV7()}` }];
}

export function outcomeText(outcome: RecordResult | undefined): string {
  if (!outcome) return 'no outcome';
  return outcome.reason === null ? outcome.outcome : `${outcome.outcome}: ${outcome.reason}`;
}

/** Everything that a second delivery must not change. Counters are summed, because a watermark appends a row with each delivery. */
async function settledRows(pool: Pool) {
  const { rows } = await pool.query(
    `select (select json_agg(l order by click_id) from ledger l) as ledger,
       (select json_agg(e order by click_id) from click_evidence e) as evidence,
       (select json_agg(u order by id) from user_agent u) as user_agents,
       (select json_agg(d order by id) from dead_letter d) as letters,
       (select json_agg(n order by nonce) from spent_nonce n) as nonces,
       (select json_agg(a order by id) from advertiser a) as advertisers,
       (select json_agg(c order by id) from campaign c) as campaigns,
       (select json_agg(d order by campaign_id, day) from campaign_day d) as days,
       (select json_build_array(sum(charged), sum(over_budget), sum(invalid), sum(rejected), sum(bit_count(settled)))
        from spool_counter) as tallies`,
  );
  return rows[0];
}

export function shuffle<T>(items: readonly T[]): T[] {
  const shuffled = [...items];
  for (let at = shuffled.length - 1; at > 0; at -= 1) {
    const other = Math.floor(Math.random() * (at + 1));
    const [a, b] = [shuffled[at] as T, shuffled[other] as T];
    shuffled[at] = b;
    shuffled[other] = a;
  }
  return shuffled;
}

/** Reconciles with a recount, and expects that the books balance and no click is missing. */
export async function expectBalanced(pool: Pool): Promise<Reconciliation> {
  const reconciliation = await reconcile(pool, { brokers: [postgresBacklog], deep: true });
  expect(reconciliation.problems).toEqual([]);
  expect(reconciliation).toMatchObject({ balanced: true, missing: 0 });
  return reconciliation;
}

/** Waits until `count` statements in the pool's database wait for a lock. */
export async function untilWaitingForLock(pool: Pool, count = 1): Promise<void> {
  await expect
    .poll(
      async () => {
        const { rows } = await pool.query<{ waiting: number }>(
          `select count(*)::int as waiting from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return rows[0]?.waiting;
      },
      { timeout: 10_000, interval: 10 },
    )
    .toBeGreaterThanOrEqual(count);
}

/** Number of rows in the ledger and of dead letters of a click, as `[ledger, deadLetters]`. */
export async function rowCountsOf(pool: Pool, clickId: string): Promise<[number, number]> {
  const { rows } = await pool.query<{ ledger: number; letters: number }>(
    `select (select count(*)::int from ledger where click_id = $1) as ledger,
       (select count(*)::int from dead_letter where click_id = $1) as letters`,
    [clickId],
  );
  return [rows[0]?.ledger ?? 0, rows[0]?.letters ?? 0];
}
