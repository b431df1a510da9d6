import { createPool, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { creditClick } from '../../ledger/accounts/budget-entries.ts';
import { readClickStory } from '../../ledger/clicks/click-story.ts';
import { databaseTime, dayStart, isoDay } from '../../ledger/partitions.ts';
import type { Bench } from './bench.ts';
import { makeAdvertisers, PRICE_MICROS } from './charge-data.ts';
import { openDatabase, RETENTION, startServer } from './charge-database.ts';
import { compareLimit, median } from './result.ts';

const DAYS = 400;
const CLICKS_A_DAY = 1_000;
const CLICKS = DAYS * CLICKS_A_DAY;
/** Clicks that are looked up in each round, each on a connection of its own: the command uses its connection once. */
const LOOKUPS_A_ROUND = 20;
const MS_MAX = 20;

/** `tollway click show` of charged and credited clicks in a ledger of 400 days, without the start of the process and its connection. */
export const benchClickShow: Bench = async (context) => {
  const url = await startServer(context);
  const pool = await openDatabase(url, 2, context);
  await makeAdvertisers(pool, 1);
  context.progress.say(`click-show: filling a ledger with ${CLICKS} clicks`);
  await fillDays(pool);
  const { rows } = await pool.query<{ id: string }>(
    'select click_id as id from ledger order by random() limit $1',
    [context.rounds * LOOKUPS_A_ROUND],
  );
  const times: number[] = [];
  for (const { id } of rows) {
    context.progress.show(`click-show: ${times.length + 1} of ${rows.length}`);
    await creditClick(pool, id);
    times.push(await timeOf(url, id));
  }
  const slowest = Math.max(...times).toFixed(1);
  return [
    compareLimit('click-show', 'ms', 'max', median(times), MS_MAX, [
      `median of ${times.length} clicks in ${DAYS} days, each on a new connection; the slowest took ${slowest} ms`,
    ]),
  ];
};

async function fillDays(pool: Pool): Promise<void> {
  const today = dayStart(await inTransaction(pool, databaseTime));
  const first = isoDay(today - (DAYS - 1) * DAY_MS);
  // The migration has created the days of RETENTION.
  for (let ago = RETENTION.clickAgeDays + 1; ago < DAYS; ago += 1)
    await pool.query(`select add_partition('ledger', $1)`, [isoDay(today - ago * DAY_MS)]);
  await pool.query('update ledger_window set click_floor = $1', [first]);
  await pool.query(
    `insert into ledger (click_id, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome)
     select uuidv7(at - now()), at, ${PRICE_MICROS}, 1, 1, 1, 'charged'
     from generate_series(0, ${CLICKS - 1}) n, lateral (select $1::date + n * interval '${DAYS} days' / ${CLICKS}) as click (at)
     where at < now() - interval '1 minute'`,
    [first],
  );
  await pool.query('update advertiser set spent_micros = (select sum(charged_micros) from ledger)');
  await pool.query('vacuum (analyze) ledger');
}

/** Milliseconds from the first query to the commit. */
async function timeOf(url: string, id: string): Promise<number> {
  const pool = createPool(url, 'bench', 1, () => {});
  try {
    await pool.query('select');
    const startedAt = performance.now();
    const { outcome } = await readClickStory(pool, { is: 'id', id }, RETENTION.clickAgeDays);
    const tookMs = performance.now() - startedAt;
    if (outcome !== 'charged') throw new Error(`Expected click ${id} to be charged, got ${outcome}`);
    return tookMs;
  } finally {
    await pool.end();
  }
}
