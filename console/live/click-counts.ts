import type { Pool } from '../../common/postgres/postgres.ts';
import { clicksJson } from '../../ledger/live/event-json.ts';
import { type OutcomeTotals, readAdvertiserTotals, readSettledTotals } from '../../ledger/live/totals.ts';
import type { LiveClicks } from './live-events.ts';

/** Clicks of single advertisers that arrive later than this after they were made are not counted, in ms. */
const LATE_MS = 3_600_000;
/** The sums of single advertisers begin anew when they span more than this, in ms. */
const SPAN_MS_MAX = 2 * LATE_MS;

export type Counted = {
  readonly totals: OutcomeTotals;
  /** By the watermarks of the spools; `null` for single advertisers. */
  readonly accepted: number | null;
  /** What was settled since the read before; `null` without one, or if nothing new can have been counted. */
  readonly clicks: LiveClicks | null;
};

/** Counts the clicks of all advertisers that were settled between two reads. */
export class AllClickCounts {
  #before: { readonly totals: OutcomeTotals; readonly atMs: number } | null = null;

  async read(pool: Pool): Promise<Counted> {
    const { accepted, ...totals } = await readSettledTotals(pool);
    const atMs = performance.now();
    const before = this.#before;
    this.#before = { totals, atMs };
    if (before === null) return { totals, accepted, clicks: null };
    // The time between the reads is measured here: the clock of the database can be set.
    const from = new Date(totals.asOf.getTime() - (atMs - before.atMs));
    return { totals, accepted, clicks: clicksJson(before.totals, totals, from) };
  }
}

/** Counts the clicks of some advertisers that came into the rollup between two reads. */
export class OwnClickCounts {
  readonly #advertiserIds: readonly number[];
  #since = new Date(Date.now() - LATE_MS);
  #before: OutcomeTotals | null = null;

  constructor(advertiserIds: readonly number[]) {
    this.#advertiserIds = advertiserIds;
  }

  async read(pool: Pool): Promise<Counted> {
    const next = this.#nextSince();
    const [totals, nextTotals = totals] = await readAdvertiserTotals(pool, this.#advertiserIds, [
      this.#since,
      ...(next === null ? [] : [next]),
    ]);
    if (totals === undefined || nextTotals === undefined) throw new Error('Expected one row, got none');
    const before = this.#before;
    this.#before = nextTotals;
    this.#since = next ?? this.#since;
    const isNew = before !== null && before.asOf < totals.asOf;
    return { totals, accepted: null, clicks: isNew ? clicksJson(before, totals, before.asOf) : null };
  }

  /** A later beginning, so that a feed that lives for days does not sum days. */
  #nextSince(): Date | null {
    // `asOf` is ahead of the times of clicks while the settlement clock is ahead of the clock of the database server.
    const { asOf, readAt } = this.#before ?? { asOf: new Date(0), readAt: new Date(0) };
    const nextMs = Math.min(asOf.getTime(), readAt.getTime()) - LATE_MS;
    return nextMs - this.#since.getTime() > SPAN_MS_MAX - LATE_MS ? new Date(nextMs) : null;
  }
}
