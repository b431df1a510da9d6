import type { Pool } from '../../common/postgres/postgres.ts';
import { QUARTER_MS } from '../reports/report.ts';

/** Length of the period of the sums, in ms. It begins with a quarter of an hour, so it is up to 15 minutes longer. */
const PERIOD_MS = 3_600_000;
/** Most ads and most publishers of a list. */
const TOP_MAX = 10;
const REASONS_MAX = 50;
/** Rejected records that are counted at most, the latest ones: a table of old ones is not read on and on. */
const REJECTED_MAX = 10_000;

/** Clicks of a reason for which they were not charged. */
export type ReasonSum = {
  readonly outcome: 'over_budget' | 'invalid' | 'rejected';
  readonly reason: string;
  readonly clicks: number;
};

/** The clicks of an ad, of every outcome, and what was charged for them. */
export type AdSum = {
  readonly adId: number;
  /** `null` for an ad without a name. */
  readonly adName: string | null;
  readonly advertiserId: number;
  readonly advertiserName: string;
  readonly campaignName: string;
  readonly clicks: number;
  readonly chargedMicros: bigint;
  readonly currency: string;
};

/** The clicks of a publisher, of every outcome, and what was charged for them in one currency. `null`: of links without a publisher. */
export type PublisherSum = {
  readonly publisher: string | null;
  readonly clicks: number;
  readonly chargedMicros: bigint;
  readonly currency: string;
};

/** Sums of the last hour, each list by clicks, most first. */
export type LiveSums = {
  readonly since: Date;
  readonly reasons: readonly ReasonSum[];
  readonly ads: readonly AdSum[];
  readonly publishers: readonly PublisherSum[];
};

type Row = {
  readonly kind: 'ad' | 'publisher' | 'reason';
  readonly clicks: number;
  readonly chargedMicros: bigint;
  readonly adId: number;
  readonly adName: string | null;
  readonly advertiserId: number;
  readonly advertiserName: string;
  readonly campaignName: string;
  readonly publisher: string | null;
  readonly currency: string;
  readonly outcome: 'over_budget' | 'invalid';
  readonly reason: string;
};

/** The beginning of the sums at a time: the quarter of an hour in which the hour before it began. */
export function sumsSince(now: Date): Date {
  return new Date(Math.floor((now.getTime() - PERIOD_MS) / QUARTER_MS) * QUARTER_MS);
}

/**
 * Sums the clicks since `sumsSince(now)`, by the time of the click, from the rollup: those of some advertisers, or of all (`null`) with the
 * rejected ones, which belong to no advertiser. One pass over the rows of five quarters of an hour.
 */
export async function readLiveSums(
  pool: Pool,
  advertiserIds: readonly number[] | null,
  now: Date,
): Promise<LiveSums> {
  const since = sumsSince(now);
  const isOwn = advertiserIds === null ? '' : 'and advertiser_id = any($4::integer[])';
  const { rows } = await pool.query<Row>(
    `with sums as (
       select case when grouping(ad_id) = 0 then 'ad' when grouping(publisher) = 0 then 'publisher' else 'reason' end as kind,
         ad_id, publisher, currency, outcome, reason, bigint_sum(clicks) as clicks, bigint_sum(charged_micros) as charged_micros
       from click_rollup join advertiser on advertiser.id = advertiser_id where quarter >= $1 ${isOwn}
       group by grouping sets ((ad_id), (publisher, currency), (outcome, reason))
     ), ranked as (
       select *, row_number() over (partition by kind order by clicks desc, ad_id, publisher, reason) as rank
       from sums where clicks > 0 and outcome is distinct from 'charged'
     )
     select kind, clicks::float8 as clicks, charged_micros as "chargedMicros", ad_id as "adId", ad.name as "adName", advertiser.id as "advertiserId",
       advertiser.name as "advertiserName", campaign.name as "campaignName", nullif(publisher, '') as publisher,
       coalesce(ranked.currency, advertiser.currency) as currency, outcome::text, ranked.reason
     from ranked left join ad on ad.id = ad_id left join campaign on campaign.id = ad.campaign_id
       left join advertiser on advertiser.id = ad.advertiser_id
     where rank <= case when kind = 'reason' then $3::integer else $2::integer end order by rank`,
    [since, TOP_MAX, REASONS_MAX, ...(advertiserIds === null ? [] : [advertiserIds])],
  );
  const rejected = advertiserIds === null ? await readRejected(pool, since) : [];
  return {
    since,
    reasons: [...rows.flatMap(reasonOf), ...rejected].sort((a, b) => b.clicks - a.clicks),
    ads: rows.flatMap(adOf),
    publishers: rows.flatMap(publisherOf),
  };
}

/** By the time of the rejection: the time of the click can be unreadable or wrong. */
async function readRejected(pool: Pool, since: Date): Promise<ReasonSum[]> {
  const { rows } = await pool.query<ReasonSum>(
    `select 'rejected' as outcome, reason, count(*)::float8 as clicks
     from (select reason, settled_at, counted from dead_letter order by id desc limit $2) latest
     where settled_at >= $1 and counted group by reason`,
    [since, REJECTED_MAX],
  );
  return rows;
}

function reasonOf({ kind, outcome, reason, clicks }: Row): ReasonSum[] {
  return kind === 'reason' ? [{ outcome, reason, clicks }] : [];
}

function adOf({ kind, outcome: _, reason: __, publisher: ___, ...row }: Row): AdSum[] {
  return kind === 'ad' ? [row] : [];
}

function publisherOf({ kind, publisher, clicks, chargedMicros, currency }: Row): PublisherSum[] {
  return kind === 'publisher' ? [{ publisher, clicks, chargedMicros, currency }] : [];
}
