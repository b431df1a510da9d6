import type { Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { databaseTime, dayStart, listPartitionDays, partitionName } from '../../ledger/partitions.ts';
import { NIL_SPOOL_ID } from '../../ledger/spools/counters.ts';
import { PRICE_MICROS } from './charge-data.ts';

const DAYS = 400;
const CLICKS_A_DAY = 50_000;
const NONCES_A_DAY = 50_000;
/** Distance of ids from the end of their day, in ms, because `now()` moves on while a statement starts. */
const MARGIN_MS = 60_000;
/** Connections that fill the ledger: one per core of the reference machine. */
export const FILLERS = 2;
export const CLICKS = DAYS * CLICKS_A_DAY;

/**
 * Fills a migrated ledger with 20 million charged clicks of the last 400 days, evenly over advertisers 1…`advertisers`, and all days of spent
 * nonces up to now. Counters, budgets and statistics match these clicks.
 */
export async function fillLedger(
  pool: Pool,
  advertisers: number,
  show: (text: string) => void,
): Promise<void> {
  const connection = await pool.connect();
  const nowMs = await databaseTime(connection);
  const today = dayStart(nowMs);
  const ledgerDays = new Set(await listPartitionDays(connection, 'ledger'));
  const [firstNonceDay = today] = await listPartitionDays(connection, 'spent_nonce');
  connection.release();
  const days = Array.from({ length: DAYS }, (_, index) => today - (DAYS - 1 - index) * DAY_MS);
  const jobs = [
    ...days.map((day) => () => fillDay(pool, day, nowMs, advertisers, ledgerDays.has(day))),
    ...daysUpTo(firstNonceDay, today).map((day) => () => fillNonces(pool, day, nowMs)),
  ];
  let done = 0;
  await Promise.all(
    Array.from({ length: FILLERS }, async () => {
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        await job();
        done += 1;
        show(`filling the ledger: ${done} of ${done + jobs.length} days`);
      }
    }),
  );
  await pool.query(
    `insert into spool_total (spool_id, accepted, charged, over_budget, invalid, rejected)
     values ('${NIL_SPOOL_ID}', 0, $1, 0, 0, 0)`,
    [CLICKS],
  );
  await pool.query(
    `update advertiser set spent_micros = charge.micros
     from (select advertiser_id, sum(charged_micros) as micros from ledger group by 1) charge where id = advertiser_id`,
  );
  // The rollup is empty, so it ends before the first click.
  await pool.query('update click_rollup_state set rolled_to = $1', [new Date(days[0] ?? today)]);
  await pool.query('vacuum (analyze) advertiser, spool_total, ledger_window');
  await pool.query('vacuum (freeze, analyze) spent_nonce');
}

function daysUpTo(first: number, last: number): number[] {
  return Array.from({ length: (last - first) / DAY_MS + 1 }, (_, index) => first + index * DAY_MS);
}

/** Fills one day. A new partition gets its rows first, then its indexes, and is attached last, which is faster. */
async function fillDay(
  pool: Pool,
  day: number,
  nowMs: number,
  advertisers: number,
  exists: boolean,
): Promise<void> {
  const name = partitionName('ledger', day);
  if (!exists)
    await pool.query(`create table ${name} (like ledger including defaults including constraints)`);
  await pool.query(
    `insert into ${name} (click_id, clicked_at, settled_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome)
     select ${idOf(day, nowMs, CLICKS_A_DAY)}, ${timeOf(day, nowMs, CLICKS_A_DAY)},
       ${timeOf(day, nowMs, CLICKS_A_DAY)}, ${PRICE_MICROS}, id, id, id, 'charged'
     from generate_series(0, ${CLICKS_A_DAY - 1}) n, lateral (select 1 + n % ${advertisers} as id) advertiser`,
  );
  if (!exists) {
    await pool.query(`alter table ${name} add primary key (click_id)`);
    await pool.query(`create index on ${name} using brin (settled_at)`);
  }
  // Otherwise autovacuum would do this during the measurement.
  await pool.query(`vacuum (freeze, analyze) ${name}`);
  if (!exists)
    await pool.query(
      `alter table ledger attach partition ${name} for values from ('${uuidFloor(day)}') to ('${uuidFloor(day + DAY_MS)}')`,
    );
}

async function fillNonces(pool: Pool, day: number, nowMs: number): Promise<void> {
  await pool.query(
    `insert into ${partitionName('spent_nonce', day)} (nonce, click_id)
     select ${idOf(day, nowMs, NONCES_A_DAY)}, uuidv7() from generate_series(0, ${NONCES_A_DAY - 1}) n`,
  );
}

/** SQL for the time of row `n` of a day, ascending. Today's rows end before now, so that new clicks are newer than all rows. */
function timeOf(day: number, nowMs: number, rows: number): string {
  const fromMs = day + MARGIN_MS;
  const toMs = Math.max(fromMs + rows, Math.min(day + DAY_MS, nowMs) - MARGIN_MS);
  return `(to_timestamp(${fromMs / 1_000}) + n * interval '${(toMs - fromMs) / rows / 1_000} seconds')`;
}

/** SQL for a UUIDv7 with the time of row `n`. PostgreSQL's function takes the difference to `now()`. */
function idOf(day: number, nowMs: number, rows: number): string {
  return `uuidv7(${timeOf(day, nowMs, rows)} - now())`;
}
