import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { boundsOf, type ClickIds, type RecordedClickIds } from './click-ids.ts';

/** Click ids per query. */
const PAGE = 5_000;
const POLL_MS = 100;
/** Missing click ids that the report lists. */
const MISSING_IDS_MAX = 10;
/** Largest difference between the clocks of ad server and database, in ms. */
const CLOCK_DIFFERENCE_MS_MAX = 3_600_000;

/** The result of looking up every recorded click in the ledger. */
export type LedgerCheck = {
  readonly expected: number;
  readonly found: number;
  readonly missing: number;
  readonly missingIds: readonly string[];
  /** Clicks that have the same id as another click, so that one row stands for both. */
  readonly duplicateIds: number;
  readonly charged: number;
  readonly notCharged: number;
  readonly chargedMicros: bigint;
  /** Rows of these advertisers whose click id the load generator never received, because the response was lost. */
  readonly unacknowledged: number;
  /** By advertiser id: its clicks, and those redirected to it although its budget was exhausted. */
  readonly advertisers: ReadonlyMap<number, AdvertiserCheck>;
  /** Time from the end of the load to the last row, by the database clock, in ms. */
  readonly drainMs: number;
};

export type AdvertiserCheck = {
  readonly found: number;
  readonly overBudget: number;
  readonly overDelivered: number;
};

/** The totals of some clicks in the ledger for one advertiser. */
type AdvertiserTotals = {
  advertiserId: number;
  clicks: number;
  charged: number;
  overBudget: number;
  micros: bigint;
  last: Date;
};

/**
 * Looks up every click id in the ledger and waits for missing ones, at most `waitMs` or until `stop`. `settled_at` is the start of the
 * statement that inserted the row, which is before the commit, so `drainMs` can be too short by the rest of that transaction.
 */
export async function checkLedger(
  pool: Pool,
  recorded: RecordedClickIds,
  options: {
    advertiserIds: readonly number[];
    /** By the database clock. */
    startedAt: Date;
    endedAt: Date;
    waitMs: number;
    stop: AbortSignal;
    onProgress: (found: number) => void;
  },
): Promise<LedgerCheck> {
  const deadline = performance.now() + options.waitMs;
  const sum = { found: 0, missing: 0, duplicateIds: 0, charged: 0, micros: 0n, lastMs: 0 };
  const advertisers = new Map<number, AdvertiserCheck>();
  const missingIds: string[] = [];
  for (const { clickIds, isFallback } of pagesOf(recorded)) {
    const ids = [...new Set(clickIds)];
    sum.duplicateIds += clickIds.length - ids.length;
    let totals = await readTotals(pool, ids);
    while (countClicks(totals) < ids.length && performance.now() < deadline && !options.stop.aborted) {
      await sleep(POLL_MS);
      totals = await readTotals(pool, ids);
    }
    for (const advertiser of totals) {
      sum.found += advertiser.clicks;
      sum.charged += advertiser.charged;
      sum.micros += advertiser.micros;
      sum.lastMs = Math.max(sum.lastMs, advertiser.last.getTime());
      addTotals(advertisers, advertiser, isFallback);
    }
    sum.missing += ids.length - countClicks(totals);
    if (countClicks(totals) < ids.length && missingIds.length < MISSING_IDS_MAX)
      missingIds.push(...(await readMissing(pool, ids)));
    options.onProgress(sum.found);
  }
  const rows = await countRows(pool, options.advertiserIds, options.startedAt);
  return {
    expected: recorded.toAdvertiser.size + recorded.toFallback.size,
    found: sum.found,
    missing: sum.missing,
    missingIds: missingIds.slice(0, MISSING_IDS_MAX),
    duplicateIds: sum.duplicateIds + Math.max(0, sum.found - rows),
    charged: sum.charged,
    notCharged: sum.found - sum.charged,
    chargedMicros: sum.micros,
    advertisers,
    unacknowledged: Math.max(0, rows - sum.found),
    drainMs: Math.max(0, sum.lastMs - options.endedAt.getTime()),
  };
}

function* pagesOf({ toAdvertiser, toFallback }: RecordedClickIds) {
  const clicks: [ClickIds, boolean][] = [
    [toAdvertiser, false],
    [toFallback, true],
  ];
  for (const [some, isFallback] of clicks)
    for (let from = 0; from < some.size; from += PAGE) yield { clickIds: some.slice(from, PAGE), isFallback };
}

function countClicks(totals: readonly AdvertiserTotals[]): number {
  return totals.reduce((sum, { clicks }) => sum + clicks, 0);
}

function addTotals(
  advertisers: Map<number, AdvertiserCheck>,
  { advertiserId, clicks, overBudget }: AdvertiserTotals,
  isFallback: boolean,
): void {
  const previous = advertisers.get(advertiserId) ?? { found: 0, overBudget: 0, overDelivered: 0 };
  advertisers.set(advertiserId, {
    found: previous.found + clicks,
    overBudget: previous.overBudget + overBudget,
    overDelivered: previous.overDelivered + (isFallback ? 0 : overBudget),
  });
}

/** The time of the database clock, for comparison with times in the ledger. */
export async function readClock(pool: Pool): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>('select clock_timestamp() as now');
  return rows[0]?.now ?? new Date();
}

async function readTotals(pool: Pool, ids: readonly string[]): Promise<AdvertiserTotals[]> {
  const { rows } = await pool.query<AdvertiserTotals>(
    `select advertiser_id as "advertiserId", count(*)::int as clicks,
       (count(*) filter (where outcome = 'charged'))::int as charged,
       (count(*) filter (where outcome = 'over_budget'))::int as "overBudget",
       sum(charged_micros)::bigint as micros, max(settled_at) as last
     from ledger where click_id = any($1::uuid[]) and click_id between $2 and $3
     group by advertiser_id`,
    [ids, ...boundsOf(ids)],
  );
  return rows;
}

async function readMissing(pool: Pool, ids: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select expected.id::text as id from unnest($1::uuid[]) expected (id)
     where not exists (select from ledger where click_id = expected.id) limit ${MISSING_IDS_MAX}`,
    [ids],
  );
  return rows.map((row) => row.id);
}

async function countRows(pool: Pool, advertiserIds: readonly number[], since: Date): Promise<number> {
  // The lower bound only limits the index range: the advertisers were created for this load, so they have no older clicks.
  const lowest = uuidFloor(since.getTime() - CLOCK_DIFFERENCE_MS_MAX);
  const { rows } = await pool.query<{ count: number }>(
    'select count(*)::int as count from ledger where click_id >= $2 and advertiser_id = any($1::integer[])',
    [advertiserIds, lowest],
  );
  return rows[0]?.count ?? 0;
}
