import type { Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor } from '../../common/uuid.ts';

/** Most clicks of a list. */
export const LATEST_MAX = 20;
/** Clicks of all advertisers among which those of some are looked for, the latest ones: without it, a scan would read the whole day. */
const SCANNED_MAX = 10_000;
/** How far the clock of an ad server may be ahead of that of the database, in ms. Clicks beyond it are not shown until their time has come. */
const AHEAD_MS = 60_000;

/** A settled click, without anything about its visitor. */
export type LatestClick = {
  readonly clickId: string;
  readonly clickedAt: Date;
  readonly settledAt: Date;
  readonly outcome: 'charged' | 'over_budget' | 'invalid' | 'rejected';
  readonly reason: string | null;
  /** Of a rejected click as in its record, which can be wrong; `null` if unreadable. */
  readonly adId: number | null;
  /** `null` for an ad without a name, and for a rejected click. */
  readonly adName: string | null;
  /** `null` for a rejected click, which belongs to no advertiser. */
  readonly advertiserName: string | null;
  readonly publisher: string | null;
  readonly chargedMicros: bigint;
  readonly currency: string | null;
};

const COLUMNS = `click_id as "clickId", clicked_at as "clickedAt", settled_at as "settledAt", outcome::text, reason, ad_id as "adId", publisher`;

/**
 * Reads the latest clicks of the day before `now` by the time of the click, at most 20, the newest first: of all advertisers (`null`), with
 * rejected ones, or those of some among the latest 10 000 clicks of all. The ids limit the query to the partitions of these days, and each
 * partition is read from the end of its primary key.
 */
export async function readLatestClicks(
  pool: Pool,
  advertiserIds: readonly number[] | null,
  now: Date,
): Promise<LatestClick[]> {
  const [from, to] = [now.getTime() - DAY_MS, now.getTime() + AHEAD_MS];
  const recent = `select * from ledger where click_id >= $1 and click_id < $2 order by click_id desc limit $3`;
  const found = advertiserIds === null ? recent : ownOf(recent);
  const { rows } = await pool.query<LatestClick>(
    `select ${COLUMNS}, charged_micros as "chargedMicros", advertiser.name as "advertiserName", currency,
       (select name from ad where id = ad_id) as "adName"
     from (${found}) found join advertiser on advertiser.id = advertiser_id order by click_id desc`,
    [
      uuidFloor(from),
      uuidFloor(to),
      ...(advertiserIds === null ? [LATEST_MAX] : [SCANNED_MAX, advertiserIds, LATEST_MAX]),
    ],
  );
  if (advertiserIds !== null) return rows;
  return newestFirst([...rows, ...(await readRejected(pool, new Date(from), new Date(to)))]);
}

function ownOf(recent: string): string {
  return `select * from (${recent}) recent where advertiser_id = any($4::integer[]) order by click_id desc limit $5`;
}

async function readRejected(pool: Pool, from: Date, to: Date): Promise<LatestClick[]> {
  const { rows } = await pool.query<LatestClick>(
    `select ${COLUMNS}, 0::bigint as "chargedMicros", null as "adName", null as "advertiserName", null as currency
     from (select *, 'rejected' as outcome from dead_letter order by id desc limit $1) latest
     where click_id is not null and clicked_at >= $2 and clicked_at < $3`,
    [LATEST_MAX, from, to],
  );
  return rows;
}

/** Sorts clicks by their time, the newest first, each id once, and keeps at most 20. */
export function newestFirst(clicks: readonly LatestClick[]): LatestClick[] {
  const byId = new Map(clicks.map((click) => [click.clickId, click]));
  const sorted = [...byId.values()].sort(
    (a, b) =>
      b.clickedAt.getTime() - a.clickedAt.getTime() ||
      (a.clickId < b.clickId ? 1 : a.clickId > b.clickId ? -1 : 0),
  );
  return sorted.slice(0, LATEST_MAX);
}

/** Time from a click to its settlement, in seconds: the median of those that were settled in the minute before `now`; `null` without one. */
export function clickToChargeSeconds(clicks: readonly LatestClick[], now: Date): number | null {
  const since = now.getTime() - 60_000;
  const delays = clicks
    .filter(({ settledAt }) => settledAt.getTime() >= since)
    .map(({ clickedAt, settledAt }) => Math.max(0, settledAt.getTime() - clickedAt.getTime()) / 1_000)
    .sort((a, b) => a - b);
  return delays[Math.floor(delays.length / 2)] ?? null;
}
