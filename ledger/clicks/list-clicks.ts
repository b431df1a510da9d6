import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor, uuidV7TimeMs } from '../../common/uuid.ts';
import type { Verdict } from '../charge/outcome.ts';
import { assertFilterExists, type ClickFilter } from '../click-filter.ts';
import { BEGIN_SNAPSHOT } from '../ledger-window.ts';
import { listPartitionDays, partitionName } from '../partitions.ts';
import { assertPeriod } from '../period.ts';

/** Most rows of the ledger that a page looks at: it takes some hundred milliseconds, however few of them match. */
const SCANNED_MAX = 50_000;
/** Most days that a page looks at: each takes queries of its own. */
const DAYS_MAX = 40;

/** A click of the ledger. Rejected clicks are dead letters. */
export type ListedClick = {
  readonly clickId: string;
  readonly clickedAt: Date;
  readonly settledAt: Date;
  readonly outcome: Verdict['outcome'];
  readonly reason: string | null;
  readonly advertiserId: number;
  readonly advertiserName: string;
  readonly campaignId: number;
  readonly campaignName: string;
  readonly adId: number;
  /** `null` for an ad without a name. */
  readonly adName: string | null;
  readonly publisher: string | null;
  readonly chargedMicros: bigint;
  /** What a credit gave back; 0 without one. */
  readonly creditedMicros: bigint;
  readonly currency: string;
};

export type ClickListFilter = ClickFilter & {
  readonly adId?: number | undefined;
  readonly outcome?: Verdict['outcome'] | undefined;
  /** Only clicks of these advertisers, which are all that an API key may see; `null`: of all. */
  readonly advertiserIds?: readonly number[] | null;
  /** Bounds of the time of the click; the second one is exclusive. */
  readonly since: Date;
  readonly until: Date;
};

/** A page of clicks. `next`: the id at which the next page begins; `null` after the last one. */
export type ClickPage = { readonly clicks: readonly ListedClick[]; readonly next: string | null };

/** `from`: `next` of the page before. `scannedMax`: most rows that the page looks at. */
type PageOptions = {
  readonly from?: string | null | undefined;
  readonly limit: number;
  readonly scannedMax?: number;
};

/**
 * Returns a page of the clicks of a period that the ledger has, by the time of the click. It reads the primary keys of the days and looks at
 * a limited number of rows, so a page can have fewer clicks than `limit`, even none, before the last one.
 * Throws `bad_window`, `unknown_advertiser`, `unknown_campaign` and `unknown_ad`.
 */
export function listClicks(
  pool: Pool,
  filter: ClickListFilter,
  { from, limit, scannedMax = SCANNED_MAX }: PageOptions,
): Promise<ClickPage> {
  assertPeriod(filter);
  const read = (connection: Connection) =>
    readPage(connection, filter, { from: maxId(uuidFloor(filter.since.getTime()), from), limit, scannedMax });
  return inTransaction(pool, read, BEGIN_SNAPSHOT);
}

async function readPage(
  connection: Connection,
  filter: ClickListFilter,
  { from, limit, scannedMax }: { readonly from: string; readonly limit: number; readonly scannedMax: number },
): Promise<ClickPage> {
  await assertFilterExists(connection, filter);
  const end = uuidFloor(filter.until.getTime());
  const days = (await listPartitionDays(connection, 'ledger')).filter(
    (day) => uuidFloor(day + DAY_MS) > from && uuidFloor(day) < end,
  );
  const clicks: ListedClick[] = [];
  let budget = scannedMax;
  for (const [index, day] of days.entries()) {
    const begin = maxId(from, uuidFloor(day));
    if (budget <= 0 || index === DAYS_MAX) return { clicks, next: begin };
    const scan = await scanDay(connection, partitionName('ledger', day), begin, end, budget);
    budget -= scan.rows;
    const wanted = limit - clicks.length;
    // One more tells whether there is a next page.
    clicks.push(...(await readClicks(connection, filter, scan, wanted + 1)));
    if (clicks.length > limit)
      return { clicks: clicks.slice(0, limit), next: clicks[limit]?.clickId ?? null };
    if (scan.isCut) return { clicks, next: scan.end };
  }
  return { clicks, next: null };
}

/** The rows of a day that a page looks at: the ids from `begin` to `end`, exclusive. */
type Scan = {
  readonly partition: string;
  readonly begin: string;
  readonly end: string;
  readonly rows: number;
  readonly isCut: boolean;
};

/**
 * Finds out how far a page gets in a day. Where it is cut, it ends with a whole millisecond: the id of a click there can be one that the caller
 * may not see, and the next page says where it begins.
 */
async function scanDay(
  connection: Connection,
  partition: string,
  begin: string,
  end: string,
  rowsMax: number,
): Promise<Scan> {
  const range = `from ${partition} where click_id >= $1 and click_id < $2 order by click_id`;
  const { rows } = await connection.query<{ rows: number; cut: string | null }>(
    `select (select count(*)::integer from (select 1 ${range} limit $3) counted) as rows, (select click_id ${range} offset $3 limit 1) as cut`,
    [begin, end, rowsMax],
  );
  const [{ rows: count, cut } = { rows: 0, cut: null }] = rows;
  if (cut === null) return { partition, begin, end, rows: count, isCut: false };
  const whole = uuidFloor(uuidV7TimeMs(cut));
  // More clicks of one millisecond than a page looks at.
  return { partition, begin, end: whole > begin ? whole : cut, rows: count, isCut: true };
}

async function readClicks(
  connection: Connection,
  { advertiserId, advertiserIds, campaignId, adId, publisher, outcome }: ClickListFilter,
  { partition, begin, end }: Scan,
  limit: number,
): Promise<ListedClick[]> {
  const { rows } = await connection.query<ListedClick>(
    `select found.click_id as "clickId", clicked_at as "clickedAt", settled_at as "settledAt", outcome::text, reason,
       found.advertiser_id as "advertiserId", advertiser.name as "advertiserName", found.campaign_id as "campaignId", campaign.name as "campaignName",
       ad_id as "adId", ad.name as "adName", publisher, charged_micros as "chargedMicros",
       coalesce((select amount_micros from budget_entry where click_id = found.click_id limit 1), 0) as "creditedMicros", advertiser.currency
     from (
       select * from ${partition} where click_id >= $1 and click_id < $2
         and ($4::integer is null or advertiser_id = $4) and ($5::integer[] is null or advertiser_id = any($5))
         and ($6::integer is null or campaign_id = $6) and ($7::integer is null or ad_id = $7)
         and ($8::text is null or publisher = $8) and ($9::click_outcome is null or outcome = $9)
       order by click_id limit $3
     ) found join advertiser on advertiser.id = found.advertiser_id join campaign on campaign.id = found.campaign_id join ad on ad.id = ad_id
     order by found.click_id`,
    [
      ...[begin, end, limit, advertiserId ?? null, advertiserIds ?? null, campaignId ?? null, adId ?? null],
      ...[publisher ?? null, outcome ?? null],
    ],
  );
  return rows;
}

const maxId = (one: string, other: string | null | undefined): string => (other && other > one ? other : one);
