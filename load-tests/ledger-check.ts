import { sleep } from '../common/lifecycle.ts';
import type { Pool } from '../common/postgres.ts';
import { uuidFloor } from '../common/uuid.ts';
import { boundsOf, type ClickIds } from './click-ids.ts';

/** Click ids looked up at once. */
const PAGE = 5_000;
const POLL_MS = 100;
/** Missing click ids that are named. */
const NAMED_MAX = 10;
/** How far the clocks of ad server and database may be apart, in ms. */
const CLOCKS_DIFFER_MS_MAX = 3_600_000;

/** What the ledger says about the clicks that were promised to be recorded. */
export type LedgerCheck = {
  readonly expected: number;
  readonly found: number;
  readonly missing: number;
  readonly missingIds: readonly string[];
  /** Click ids with more than one row. */
  readonly twice: number;
  readonly charged: number;
  readonly notCharged: number;
  readonly chargedMicros: bigint;
  /** Rows of these advertisers whose click id we were never told: the answer was lost on its way. */
  readonly untold: number;
  /** Time from the end of the load to the last row, by the clock of the database, in ms. */
  readonly drainMs: number;
};

type Page = { clicks: number; rows: number; charged: number; micros: bigint; last: Date | null };

/**
 * Looks every click id up in the ledger, and waits for those that are not there yet: at most `waitMs`, or until
 * `stop`. A row's time is the begin of its transaction, so the drain is told up to one batch too short.
 */
export async function checkLedger(
  pool: Pool,
  recorded: ClickIds,
  options: {
    advertiserIds: readonly number[];
    /** By the clock of the database. */
    startedAt: Date;
    endedAt: Date;
    waitMs: number;
    stop: AbortSignal;
    onProgress: (found: number) => void;
  },
): Promise<LedgerCheck> {
  const deadline = Date.now() + options.waitMs;
  const sum = { found: 0, twice: 0, charged: 0, micros: 0n, lastMs: 0 };
  const missingIds: string[] = [];
  for (let from = 0; from < recorded.size; from += PAGE) {
    const ids = recorded.slice(from, PAGE);
    let page = await readPage(pool, ids);
    while (page.clicks < ids.length && Date.now() < deadline && !options.stop.aborted) {
      await sleep(POLL_MS);
      page = await readPage(pool, ids);
    }
    sum.found += page.clicks;
    sum.twice += page.rows - page.clicks;
    sum.charged += page.charged;
    sum.micros += page.micros;
    sum.lastMs = Math.max(sum.lastMs, page.last?.getTime() ?? 0);
    if (page.clicks < ids.length && missingIds.length < NAMED_MAX)
      missingIds.push(...(await readMissing(pool, ids)));
    options.onProgress(sum.found);
  }
  return {
    expected: recorded.size,
    found: sum.found,
    missing: recorded.size - sum.found,
    missingIds: missingIds.slice(0, NAMED_MAX),
    twice: sum.twice,
    charged: sum.charged,
    notCharged: sum.found - sum.charged,
    chargedMicros: sum.micros,
    untold: (await countRows(pool, options.advertiserIds, options.startedAt)) - sum.found - sum.twice,
    drainMs: Math.max(0, sum.lastMs - options.endedAt.getTime()),
  };
}

/** The clock of the database: what the times in the ledger are compared with. */
export async function readClock(pool: Pool): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>('select clock_timestamp() as now');
  return rows[0]?.now ?? new Date();
}

async function readPage(pool: Pool, ids: readonly string[]): Promise<Page> {
  const { rows } = await pool.query<Page>(
    `select count(distinct click_id)::int as clicks, count(*)::int as rows,
       (count(*) filter (where outcome = 'charged'))::int as charged,
       coalesce(sum(charged_micros), 0)::bigint as micros, max(settled_at) as last
     from ledger where click_id = any($1::uuid[]) and click_id between $2 and $3`,
    [ids, ...boundsOf(ids)],
  );
  return rows[0] ?? { clicks: 0, rows: 0, charged: 0, micros: 0n, last: null };
}

async function readMissing(pool: Pool, ids: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select asked.id::text as id from unnest($1::uuid[]) asked (id)
     where not exists (select from ledger where click_id = asked.id) limit ${NAMED_MAX}`,
    [ids],
  );
  return rows.map((row) => row.id);
}

async function countRows(pool: Pool, advertiserIds: readonly number[], since: Date): Promise<number> {
  // Only for the range of the index that is read: the advertisers are as new as the load.
  const lowest = uuidFloor(since.getTime() - CLOCKS_DIFFER_MS_MAX);
  const { rows } = await pool.query<{ count: number }>(
    'select count(*)::int as count from ledger where click_id >= $2 and advertiser_id = any($1::integer[])',
    [advertiserIds, lowest],
  );
  return rows[0]?.count ?? 0;
}
