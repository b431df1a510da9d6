import type { Pool } from '../../common/postgres/postgres.ts';
import { readReport } from '../../ledger/reports/report.ts';
import type { Bench } from './bench.ts';
import { openDatabase, startServer } from './charge-database.ts';
import { compareLimit, median } from './result.ts';

const CLICKS = 50_000_000;
const DAYS = 30;
const ADS = 1_000;
/** Each ad is on this many pages of publishers. */
const PUBLISHERS = 5;
const QUARTERS_A_DAY = 96;
/** Quarters of an hour are filled for this many days only: a report of days reads none of them. */
const QUARTER_DAYS = 2;
/** Outcomes of the clicks of an ad and a publisher, and their shares. */
const OUTCOMES = `(values ('charged', '', 0.92), ('invalid', 'bot', 0.05), ('invalid', 'double_click', 0.02),
  ('over_budget', 'budget', 0.01)) as outcome (outcome, reason, share)`;
const PRICE_MICROS = 10_000;
const REPORTS_A_ROUND = 10;
const MS_MAX = 200;

/** `tollway report --by day,campaign,ad` of a month with 50 million clicks, without the start of the process and the rollup before it. */
export const benchReport: Bench = async (context) => {
  const pool = await openDatabase(await startServer(context), 2, context);
  context.progress.say(`report: filling the rollup of ${CLICKS} clicks`);
  await fillRollup(pool);
  const { rows } = await pool.query<{ count: bigint }>('select count(*) as count from click_rollup_day');
  const times: number[] = [];
  let reported = 0;
  for (let run = 0; run < context.rounds * REPORTS_A_ROUND; run += 1) {
    context.progress.show(`report: ${run + 1} of ${context.rounds * REPORTS_A_ROUND}`);
    const startedAt = performance.now();
    const report = await readReport(pool, {
      since: '2026-01-01',
      until: '2026-01-31',
      by: ['day', 'campaign', 'ad'],
    });
    times.push(performance.now() - startedAt);
    reported = report.rows.length;
    if (reported !== DAYS * ADS) throw new Error(`Expected ${DAYS * ADS} rows, got ${reported}`);
  }
  return [
    compareLimit('report', 'ms', 'max', median(times), MS_MAX, [
      `by day, campaign and ad over ${DAYS} days: ${reported} rows from ${rows[0]?.count} sums by day (${ADS} ads, ${PUBLISHERS} publishers, ` +
        `4 outcomes); the slowest of ${times.length} took ${Math.max(...times).toFixed(0)} ms`,
    ]),
  ];
};

/** Advertisers of five campaigns of five ads each, and the sums of their clicks, evenly over the days. */
async function fillRollup(pool: Pool): Promise<void> {
  await pool.query(
    `insert into advertiser (name, currency) select 'Bench ' || n, 'USD' from generate_series(1, ${ADS / 25}) n`,
  );
  const sums = (perDay: number) => `
    from generate_series(0, ${ADS - 1}) ad, generate_series(1, ${PUBLISHERS}) publisher, ${OUTCOMES},
      lateral (select greatest(1, round(share * ${CLICKS / DAYS / ADS / PUBLISHERS / perDay})) as clicks) counted`;
  const keys = `1 + ad / 25, 1 + ad / 5, 1 + ad, 'publisher-' || publisher, outcome::click_outcome, reason, clicks,
    case when outcome = 'charged' then clicks * ${PRICE_MICROS} else 0 end`;
  const columns = 'advertiser_id, campaign_id, ad_id, publisher, outcome, reason, clicks, charged_micros';
  await pool.query(
    `insert into click_rollup_day (day, ${columns}) select date '2026-01-01' + day, ${keys}
     ${sums(1)}, generate_series(0, ${DAYS - 1}) day order by day`,
  );
  await pool.query(
    `insert into click_rollup (quarter, ${columns}) select timestamptz '2026-01-01Z' + quarter * interval '15 minutes', ${keys}
     ${sums(QUARTERS_A_DAY)}, generate_series(0, ${QUARTER_DAYS * QUARTERS_A_DAY - 1}) quarter order by quarter`,
  );
  await pool.query('vacuum (analyze) click_rollup_day, click_rollup, advertiser');
}
