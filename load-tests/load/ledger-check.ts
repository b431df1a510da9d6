import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { boundsOf, type ClickIds, type RecordedClicks } from './click-ids.ts';

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
  /** Clicks that share their id with another: one row stands for both. */
  readonly twice: number;
  readonly charged: number;
  readonly notCharged: number;
  readonly chargedMicros: bigint;
  /** Rows of these advertisers whose click id we were never told: the answer was lost on its way. */
  readonly untold: number;
  /** By advertiser: its clicks, and those it was sent although it could no longer pay. */
  readonly advertisers: ReadonlyMap<number, AdvertiserCheck>;
  /** Time from the end of the load to the last row, by the clock of the database, in ms. */
  readonly drainMs: number;
};

export type AdvertiserCheck = {
  readonly found: number;
  readonly overBudget: number;
  readonly overDelivered: number;
};

/** What the ledger has of some clicks, by advertiser. */
type Share = {
  advertiserId: number;
  clicks: number;
  charged: number;
  overBudget: number;
  micros: bigint;
  last: Date;
};

/**
 * Looks every click id up in the ledger, and waits for those that are not there yet: at most `waitMs`, or until
 * `stop`. A row's time is the begin of its transaction, so the drain is told up to one batch too short.
 */
export async function checkLedger(
  pool: Pool,
  recorded: RecordedClicks,
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
  const deadline = performance.now() + options.waitMs;
  const sum = { found: 0, missing: 0, twice: 0, charged: 0, micros: 0n, lastMs: 0 };
  const advertisers = new Map<number, AdvertiserCheck>();
  const missingIds: string[] = [];
  for (const { told, isFallback } of pagesOf(recorded)) {
    const ids = [...new Set(told)];
    sum.twice += told.length - ids.length;
    let shares = await readShares(pool, ids);
    while (clicksOf(shares) < ids.length && performance.now() < deadline && !options.stop.aborted) {
      await sleep(POLL_MS);
      shares = await readShares(pool, ids);
    }
    for (const { advertiserId, clicks, charged, overBudget, micros, last } of shares) {
      sum.found += clicks;
      sum.charged += charged;
      sum.micros += micros;
      sum.lastMs = Math.max(sum.lastMs, last.getTime());
      const so = advertisers.get(advertiserId) ?? { found: 0, overBudget: 0, overDelivered: 0 };
      advertisers.set(advertiserId, {
        found: so.found + clicks,
        overBudget: so.overBudget + overBudget,
        overDelivered: so.overDelivered + (isFallback ? 0 : overBudget),
      });
    }
    sum.missing += ids.length - clicksOf(shares);
    if (clicksOf(shares) < ids.length && missingIds.length < NAMED_MAX)
      missingIds.push(...(await readMissing(pool, ids)));
    options.onProgress(sum.found);
  }
  const rows = await countRows(pool, options.advertiserIds, options.startedAt);
  return {
    expected: recorded.toAdvertiser.size + recorded.toFallback.size,
    found: sum.found,
    missing: sum.missing,
    missingIds: missingIds.slice(0, NAMED_MAX),
    twice: sum.twice + Math.max(0, sum.found - rows),
    charged: sum.charged,
    notCharged: sum.found - sum.charged,
    chargedMicros: sum.micros,
    advertisers,
    untold: Math.max(0, rows - sum.found),
    drainMs: Math.max(0, sum.lastMs - options.endedAt.getTime()),
  };
}

function* pagesOf({ toAdvertiser, toFallback }: RecordedClicks) {
  const clicks: [ClickIds, boolean][] = [
    [toAdvertiser, false],
    [toFallback, true],
  ];
  for (const [some, isFallback] of clicks)
    for (let from = 0; from < some.size; from += PAGE) yield { told: some.slice(from, PAGE), isFallback };
}

function clicksOf(shares: readonly Share[]): number {
  return shares.reduce((total, { clicks }) => total + clicks, 0);
}

/** The clock of the database: what the times in the ledger are compared with. */
export async function readClock(pool: Pool): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>('select clock_timestamp() as now');
  return rows[0]?.now ?? new Date();
}

async function readShares(pool: Pool, ids: readonly string[]): Promise<Share[]> {
  const { rows } = await pool.query<Share>(
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
